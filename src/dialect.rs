//! The differences between kinds of chat: the names of events and fields, their order and
//! their form. A dialect is a room.

pub mod django;
