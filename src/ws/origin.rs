//! Origins whose pages may open a socket, and the log lines about the others.

use std::sync::{Mutex, PoisonError};

use hyper::{
    Request,
    header::{HOST, HeaderName, ORIGIN},
};

use crate::app::App;

/// Origins that are remembered. A client that is no browser can send any number of them.
const MOST: usize = 64;

/// Characters of an origin in the log.
const SHOWN: usize = 128;

/// The origins that were refused and logged.
#[derive(Default)]
pub struct RefusedOrigins(Mutex<Vec<String>>);

impl RefusedOrigins {
    /// Notes an origin; whether it is new.
    fn note(&self, origin: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.len() < MOST && !known.iter().any(|known| known == origin);
        if is_new {
            known.push(origin.to_owned());
        }
        is_new
    }
}

/// Returns whether `ws.allowed_origins` lets pages of this request's origin open a socket. A
/// refusal is counted, and logged once for each origin.
pub fn is_allowed<B>(app: &App, request: &Request<B>) -> bool {
    let allowed = &app.config.ws.allowed_origins;
    let text = |name: HeaderName| {
        let value = request.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()))
    };
    // Other clients than browsers send no origin, and could send any.
    let Some(origin) = text(ORIGIN) else {
        return true;
    };
    let host = text(HOST);
    let host = host.as_deref();
    if allowed.is_empty() || allowed.iter().any(|allowed| allowed.is(&origin, host)) {
        return true;
    }
    app.metrics.ws_origin_refused();
    let shown: String = origin.chars().take(SHOWN).collect();
    if app.refused_origins.note(&shown) {
        tracing::warn!(
            origin = ?shown,
            host,
            "a page of this origin may not open a socket: name it in ws.allowed_origins if it is \
             yours; further attempts are counted and not logged"
        );
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_new_once_and_no_more_are_kept_than_fit() {
        let refused = RefusedOrigins::default();
        assert!(refused.note("https://a") && !refused.note("https://a"));
        let news = (0..2 * MOST).filter(|number| refused.note(&number.to_string()));
        assert_eq!(news.count(), MOST - 1);
    }
}
