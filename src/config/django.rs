//! `[django]`: what the Django project beside us says about itself.

use std::fmt;

use serde::Deserialize;

use super::declare::{choice, settings};
use super::secret::Secret;
use super::ws::AllowedOrigin;
use crate::python::datetime;

settings! {
    /// What the Django project beside us uses; the defaults are the original's.
    pub struct Django in "django" {
        /// Where the REST API is mounted. Starts and ends with `/`.
        url_prefix: Prefix = "/api/chat/",
        /// Where the WebSocket is mounted. Starts and ends with `/`.
        ws_prefix: Prefix = "/ws/chat/",
        /// Channel layer group of a conversation, with `{conversation_id}` once; the rest is ASCII
        /// letters, digits, `-`, `_` and `.`.
        group_pattern: GroupPattern = "chat_{conversation_id}",
        /// Zone of the datetimes in responses, by its IANA name: Django's `TIME_ZONE`.
        time_zone: ZoneName = "Asia/Seoul",
        /// Language of the framework's errors, `en-us` or `ko`: Django's `LANGUAGE_CODE`.
        language: Language = "en-us",
        /// Django's `SECRET_KEY`, to read the sessions it signed. The variable `SECRET_KEY` sets it
        /// too.
        secret_key: Option<Secret> = "",
        /// Django's `SECRET_KEY_FALLBACKS`: older keys, whose signatures are still good.
        secret_key_fallbacks: Vec<Secret> = [],
        /// Django's `CSRF_TRUSTED_ORIGINS`: other origins whose pages may change something for
        /// callers known by a cookie, as `https://chat.example`. `same` is the host that was asked,
        /// by `https` too, which is what a server behind a TLS proxy needs.
        csrf_trusted_origins: Vec<AllowedOrigin> = [],
    }
}

choice! {
    /// A language of the framework's texts.
    pub enum Language {
        EnUs = "en-us",
        Ko = "ko",
    }
}

/// A URL path that starts and ends with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix(String);

impl Prefix {
    /// The default of `django.ws_prefix`.
    pub const CHAT: &str = "/ws/chat/";

    /// Returns the prefix of every path.
    #[must_use]
    pub fn root() -> Self {
        Prefix("/".to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Prefix {
    type Error = &'static str;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        let plain = |b: u8| b.is_ascii_graphic() && !b"?#%\\\"<>".contains(&b);
        if path.starts_with('/')
            && path.ends_with('/')
            && !path.contains("//")
            && path.bytes().all(plain)
        {
            Ok(Self(path))
        } else {
            Err("a path that starts and ends with `/`, as `/api/chat/`")
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a conversation's group is named.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct GroupPattern {
    before: String,
    after: String,
}

impl GroupPattern {
    const PLACE: &str = "{conversation_id}";
    /// Channels refuses a group name of 100 bytes; a UUID is 36 of them.
    const MAX_AROUND: usize = 99 - 36;

    /// Returns the group of one conversation.
    #[must_use]
    pub fn group(&self, conversation_id: impl fmt::Display) -> String {
        format!("{}{conversation_id}{}", self.before, self.after)
    }
}

impl TryFrom<String> for GroupPattern {
    type Error = &'static str;

    fn try_from(pattern: String) -> Result<Self, Self::Error> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        match pattern.split_once(Self::PLACE) {
            Some((before, after))
                if before.bytes().chain(after.bytes()).all(plain)
                    && before.len() + after.len() <= Self::MAX_AROUND =>
            {
                Ok(Self {
                    before: before.to_owned(),
                    after: after.to_owned(),
                })
            }
            _ => Err(
                "`{conversation_id}` once, with at most 63 ASCII letters, digits, `-`, `_` or `.` \
                      around it, as `chat_{conversation_id}`",
            ),
        }
    }
}

impl fmt::Display for GroupPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.before, Self::PLACE, self.after)
    }
}

/// A time zone of the bundled IANA database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ZoneName {
    name: String,
    zone: datetime::Zone,
}

impl ZoneName {
    /// Returns the zone itself.
    #[must_use]
    pub fn zone(&self) -> &datetime::Zone {
        &self.zone
    }
}

impl TryFrom<String> for ZoneName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match datetime::Zone::named(&name) {
            Some(zone) => Ok(Self { name, zone }),
            None => Err("a zone of the IANA database, as `Asia/Seoul` or `UTC`"),
        }
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_starts_and_ends_with_a_slash() {
        let ok = |path: &str| Prefix::try_from(path.to_owned()).is_ok();
        assert!(ok("/") && ok("/api/chat/") && ok("/v1.0/a-b_c/"));
        for path in [
            "", "api/", "/api", "//", "/a//b/", "/a b/", "/a?/", "/a%20/", "/대화/",
        ] {
            assert!(!ok(path), "{path}");
        }
    }

    #[test]
    fn a_group_is_the_pattern_with_the_id_in_it() {
        let pattern = GroupPattern::try_from("chat_{conversation_id}.v1".to_owned()).unwrap();
        assert_eq!(pattern.group("7b"), "chat_7b.v1");
        assert_eq!(pattern.to_string(), "chat_{conversation_id}.v1");
    }

    #[test]
    fn a_pattern_that_channels_would_refuse_is_refused_here() {
        let ok = |pattern: &str| GroupPattern::try_from(pattern.to_owned()).is_ok();
        assert!(ok("{conversation_id}"));
        assert!(ok(&format!("{}{{conversation_id}}", "a".repeat(63))));
        assert!(!ok(&format!("{}{{conversation_id}}", "a".repeat(64))));
        for pattern in [
            "",
            "chat",
            "chat_{id}",
            "chat {conversation_id}",
            "a{conversation_id}{conversation_id}",
        ] {
            assert!(!ok(pattern), "{pattern}");
        }
    }

    #[test]
    fn a_zone_is_known_or_refused() {
        let zone = |name: &str| ZoneName::try_from(name.to_owned()).map(|z| z.to_string());
        assert_eq!(zone("Asia/Seoul").as_deref(), Ok("Asia/Seoul"));
        assert_eq!(zone("UTC").as_deref(), Ok("UTC"));
        assert!(zone("Asia/Atlantis").is_err());
        assert!(zone("").is_err());
    }
}
