//! What differs from one kind of chat to another: the names of events and fields, their order and
//! their form. A dialect is a room.

pub mod django;
