//! Python 3.11's forms of data: JSON, text, times, UUIDs, character sets. Clients and the peers
//! in Redis see these bytes.
//!
//! A leaf of pure functions, named after the Python modules whose place they take.

pub mod base64;
pub mod charset;
pub mod cookies;
pub mod datetime;
pub mod json;
pub mod pystr;
pub mod urls;
pub mod uuid;
pub mod wsgi;
