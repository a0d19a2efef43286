//! The WebSocket side.
//!
//! - [`upgrade`] answers the opening handshake, [`origin`] says for which pages,
//! - [`reader`] turns bytes into messages,
//! - [`session`] decides what a message, a timer or an event asks for (pure, no socket),
//! - [`protocol`] knows the JSON of the frames,
//! - [`budget`] is how many frames a client may send,
//! - [`writer`] lays out frames,
//! - [`history`] tells a long history piece by piece,
//! - `work` does what was asked, and [`ending`] says goodbye,
//! - [`connection`] owns the socket and runs it all.

pub mod budget;
pub mod connection;
pub mod ending;
pub mod heartbeat;
pub mod history;
pub mod origin;
pub mod protocol;
pub mod reader;
pub mod session;
pub mod upgrade;
mod work;
pub mod writer;
