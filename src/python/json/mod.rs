//! JSON as the original read and wrote it.
//!
//! Stands in for Python 3.11's `json` package (the C scanner and encoder) and for what Django REST
//! framework adds to it in `parsers.JSONParser` and `renderers.JSONRenderer`. Reading and writing
//! are to the byte: error texts, number forms, escapes and separators are on the wire. Decoding the
//! bytes of a body is for [`super::charset`]; what a value means is for the callers.

mod build;
mod error;
mod parse;
mod run;
mod write;

pub use error::{JsonError, MAX_DEPTH, MAX_VALUES, Syntax};
pub use parse::{Constants, loads};
pub use write::{
    Part, PartWriter, write_ascii, write_ascii_members, write_ascii_ref, write_ascii_str,
    write_pretty, write_raw, write_utf8, write_utf8_str,
};

#[cfg(test)]
mod tests;
