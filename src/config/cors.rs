//! `[cors]`: which other sites' pages may use the API from a browser.

use std::fmt;

use serde::Deserialize;

use super::{AllowedOrigin, declare::settings};

settings! {
    /// Front ends on another origin. The rules of the API only: a WebSocket's are
    /// `ws.allowed_origins`, and what is passed on to Django has Django's.
    pub struct Cors in "cors" {
        /// Origins whose pages may read answers of the API, with cookies: `https://chat.example`.
        /// `*` lets every other origin read them too, without cookies.
        allowed_origins: Vec<CorsOrigin> = [],
    }
}

/// An origin whose pages may read answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CorsOrigin {
    /// Every origin; none of them may send cookies.
    Any,
    /// Exactly this one, in lower case.
    Exact(String),
}

impl TryFrom<String> for CorsOrigin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "origins as `https://chat.example` (no path), or `*`";
        match (text.as_str(), AllowedOrigin::try_from(text.clone())) {
            ("*", _) => Ok(Self::Any),
            // Every sandboxed frame and every local file is `null`.
            ("null", _) => Err(EXPECTED),
            (_, Ok(AllowedOrigin::Exact(origin))) => Ok(Self::Exact(origin)),
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::Exact(origin) => origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::CorsOrigin;

    #[test]
    fn an_origin_is_exact_or_any() {
        let origin = |text: &str| CorsOrigin::try_from(text.to_owned());
        let exact = CorsOrigin::Exact("https://chat.example".to_owned());
        assert_eq!(origin("https://Chat.Example"), Ok(exact));
        assert_eq!(origin("*"), Ok(CorsOrigin::Any));
        for text in [
            "",
            "null",
            "same",
            "chat.example",
            "https://*.example",
            "https://a/",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
