//! The engine of WebSockets. What is said on them is a dialect's, whose [`protocol`] it runs.
//!
//! - [`upgrade`] answers the opening handshake, which [`handshake`] checks as Daphne does;
//!   [`origin`] says for which pages, [`refusal`] is the answer to others, [`entry`] lets a socket
//!   into a conversation,
//! - [`reader`] turns bytes into messages,
//! - [`session`] decides what a message, a timer or an event asks for (pure, no socket),
//! - [`budget`] is how many frames a client may send,
//! - [`writer`] lays out frames, [`transfer`] moves bytes both ways,
//! - [`history`] tells a long history piece by piece,
//! - `work` does what was asked, and [`ending`] says goodbye,
//! - [`connection`] owns the socket and runs it all,
//! - [`plain`] are the sockets of chats with no conversation of the core.

pub mod budget;
pub mod connection;
pub mod ending;
pub mod entry;
pub mod handshake;
pub mod heartbeat;
pub mod history;
pub mod origin;
pub mod plain;
pub mod protocol;
pub mod reader;
pub mod refusal;
pub mod session;
pub mod transfer;
pub mod upgrade;
mod work;
pub mod writer;
