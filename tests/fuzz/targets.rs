//! What is fed, and what is true of it whatever the bytes are.

mod http;
mod identity;
mod layer;
mod socket;

use std::path::Path;

use chatferry::{
    config::Config,
    dialect::django::body,
    python::json::{self, Constants},
    value::Value,
};

pub use self::{
    http::http_bytes,
    identity::{jwt, session_cookie},
    layer::{fernet_token, layer_message},
    socket::{socket_bytes, socket_text},
};

/// A function that must come back, whatever the bytes are.
pub type Target = fn(&[u8]);

/// Every target, with its name.
pub const ALL: [(&str, Target); 10] = [
    ("fernet_token", fernet_token),
    ("http_bytes", http_bytes),
    ("json_body", json_body),
    ("jwt", jwt),
    ("layer_message", layer_message),
    ("multipart_body", multipart_body),
    ("session_cookie", session_cookie),
    ("settings_file", settings_file),
    ("socket_bytes", socket_bytes),
    ("socket_text", socket_text),
];

/// A request body by the `Content-Type` in its first line. JSON that was read and written reads as
/// what it was.
pub fn json_body(input: &[u8]) {
    let (content_type, bytes) = first_line(input);
    let _ = body::parse(Some(&content_type), bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(value) = json::loads(text, Constants::Allow) {
        for write in [json::write_ascii, json::write_utf8] {
            let once = written(write, &value);
            let read = json::loads(std::str::from_utf8(&once).unwrap(), Constants::Allow);
            assert_eq!(written(write, &read.unwrap()), once);
        }
    }
}

fn written(write: fn(&mut Vec<u8>, &Value), value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    write(&mut text, value);
    text
}

/// A multipart body by the `Content-Type` in its first line.
pub fn multipart_body(input: &[u8]) {
    let (content_type, bytes) = first_line(input);
    let _ = body::parse(Some(&content_type), bytes);
}

fn first_line(input: &[u8]) -> (String, &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (line, rest) = input.split_at(end.unwrap_or(input.len()));
    let text = String::from_utf8_lossy(line);
    (
        text.trim_end().to_owned(),
        rest.get(1..).unwrap_or_default(),
    )
}

/// A settings file: it is read, or the error says why not.
pub fn settings_file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let file = Some((Path::new("chatferry.toml"), text.as_ref()));
    if let Err(error) = Config::load(file, std::iter::empty(), &[]) {
        assert!(!error.to_string().is_empty());
    }
}
