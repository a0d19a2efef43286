//! Sockets of the chat: opened, spoken on, and held to the rules of WebSocket.

mod floods;
mod frames;
mod handshake;
pub mod history;
mod protocol;
mod races;
mod talk;
