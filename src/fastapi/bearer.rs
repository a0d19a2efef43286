//! Bearer tokens, as FastAPI's security classes take them from a request.

use hyper::{HeaderMap, StatusCode, header::AUTHORIZATION};

use super::error::HttpError;
use crate::config::Generation;

/// The class that reads the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BearerScheme {
    /// `HTTPBearer`: a token must not be empty.
    Http,
    /// `OAuth2PasswordBearer`: an empty token is for the application to refuse.
    OAuth2,
}

const MISSING: &str = "Not authenticated";

impl BearerScheme {
    /// Returns the token of a request.
    ///
    /// # Errors
    /// 401, or 403 of the first generation's `HTTPBearer`, when there is none.
    pub fn token(self, headers: &HeaderMap, generation: Generation) -> Result<&str, HttpError> {
        let sent = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        let (scheme, token) = sent
            .map(|text| text.split_once(' ').unwrap_or((text, "")))
            .unwrap_or_default();
        let token = match generation {
            Generation::V0_165 => token.trim(),
            _ => token,
        };
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        let is_given = self == BearerScheme::OAuth2 || !token.is_empty();
        if is_bearer && is_given {
            return Ok(token);
        }
        if self == BearerScheme::OAuth2 || generation != Generation::V0_115 {
            return Err(HttpError::unauthorized(MISSING));
        }
        let is_other = !is_bearer && !scheme.is_empty() && !token.is_empty();
        let text = if is_other {
            "Invalid authentication credentials"
        } else {
            MISSING
        };
        Err(HttpError::new(StatusCode::FORBIDDEN, text))
    }
}
