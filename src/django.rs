//! Everything that is only so because Django has it so: what REST framework says, how a form is read,
//! what a cookie holds. One named place for each oddity; nothing outside knows why.
//!
//! A leaf: pure functions that `http`, `ws` and `store` call.

pub mod auto_now;
pub mod basic_auth;
pub mod body;
pub mod cookies;
pub mod csrf;
pub mod drf;
pub mod forms;
pub mod handshake;
pub mod header;
pub mod host;
pub mod multipart;
pub mod negotiation;
pub mod pages;
pub mod signing;
