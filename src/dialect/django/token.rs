//! The one frame that the original does not know: before the token that a socket was opened with
//! runs out, the client may show a fresh one.
//!
//! ```json
//! {"type": "auth", "token": "…"}
//! ```
//!
//! It is read where tokens are, with `auth.identity = jwt`; anywhere else it is one of the types
//! that are silently ignored. The token must be the same user's. Nothing is answered to a good one:
//! the socket ends when that runs out. Any other gets an error frame and changes nothing.

use crate::{auth::identity::Denied, config::Secret, value::Value};

/// The `type` of such a frame.
pub const TYPE: &str = "auth";

/// Returns the token of such a frame. One that is no text is as good as an empty one.
#[must_use]
pub fn of(frame: &Value) -> Secret {
    let token = frame.get("token").and_then(Value::as_str);
    token.unwrap_or_default().to_owned().into()
}

/// Returns the frame for a token that changed nothing.
#[must_use]
pub fn refusal(denied: &Denied) -> &'static str {
    match denied {
        Denied::ExpiredToken => "The token has run out",
        Denied::Unavailable(_) => "The token could not be checked, try again",
        _ => "The token is not good",
    }
}

#[cfg(test)]
mod tests {
    use crate::{dialect::django::frames::read, ws::protocol::Reading};

    #[test]
    fn only_a_frame_of_its_type_shows_a_token() {
        let of = |text| match read(text).unwrap() {
            Reading::Token(token) => Some(token.expose().to_owned()),
            _ => None,
        };
        let good = of(r#"{"type": "auth", "token": "a.b.c"}"#);
        assert_eq!(good.as_deref(), Some("a.b.c"));
        for text in [r#"{"type": "auth"}"#, r#"{"type": "auth", "token": ["a"]}"#] {
            assert_eq!(of(text).as_deref(), Some(""), "{text}");
        }
        for text in [
            r#"{"type": "Auth", "token": "a"}"#,
            r#"{"token": "a"}"#,
            "{}",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
