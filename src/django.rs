//! Everything that is only so because Django has it so: how Python writes JSON, what REST framework
//! says, how a form is read. One named place for each oddity; nothing outside knows why.
//!
//! A leaf: pure functions that `http`, `ws` and `store` call.

pub mod auto_now;
mod base64;
pub mod basic_auth;
pub mod body;
pub mod charset;
pub mod cookies;
pub mod csrf;
pub mod datetime;
pub mod drf;
pub mod forms;
pub mod handshake;
pub mod header;
pub mod host;
pub mod json;
pub mod multipart;
pub mod negotiation;
pub mod pages;
pub mod pystr;
pub mod signing;
pub mod urls;
pub mod uuid;
