//! Origins whose pages may open a socket, and the log lines about the others.

use hyper::{
    Request,
    header::{HOST, HeaderName, ORIGIN},
};

use crate::app::App;

/// Characters of an origin in the log.
const SHOWN: usize = 128;

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
