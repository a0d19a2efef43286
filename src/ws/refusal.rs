//! Handshakes that are refused, and their answers: a status line that says why, as Autobahn's do.

use std::fmt;

use hyper::{
    StatusCode,
    ext::ReasonPhrase,
    header::{HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, WWW_AUTHENTICATE},
};

use super::handshake::{self, VERSIONS};
use crate::{
    app::App,
    auth::identity::Denied,
    http::{Body, Response, reply},
    limits::Throttled,
    metrics::SecurityEvent,
    service::ChatError,
    telemetry::security::RefusedRequest,
};

/// Why a socket is not opened.
#[derive(Debug)]
pub enum Refusal {
    /// Autobahn would not take the handshake.
    Handshake(handshake::BadHandshake),
    /// No such path. The original's router raises, and Daphne makes a 500 of that after up to a
    /// second; clients know the status, so only the wait is gone.
    NoRoute,
    /// The conversation does not exist or is not active.
    Denied,
    /// The caller may not know of the conversation.
    Hidden,
    /// Pages of this origin may open no socket.
    Origin,
    /// The caller must be known and is not.
    Unknown(Denied),
    /// The store or the layer cannot be asked now.
    Unavailable(ChatError),
    /// The process is going away.
    Draining,
    /// The client opens too many.
    Throttled(Throttled),
}

impl From<ChatError> for Refusal {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::NoConversation => Refusal::Denied,
            ChatError::Hidden(_) => Refusal::Hidden,
            error => Refusal::Unavailable(error),
        }
    }
}

impl Refusal {
    /// Returns the entry for the security log.
    #[must_use]
    pub fn refused(&self) -> Option<RefusedRequest> {
        match self {
            Refusal::Hidden => Some(RefusedRequest::new(SecurityEvent::Policy, "see")),
            Refusal::Origin => Some(RefusedRequest::new(SecurityEvent::Origin, "not listed")),
            Refusal::Unknown(denied) => denied.refused(),
            Refusal::Throttled(throttled) => Some(reply::limited(*throttled)),
            _ => None,
        }
    }
}

/// Answers a handshake that is refused.
#[must_use]
pub fn refuse(app: &App, refused: &Refusal) -> Response {
    match refused {
        Refusal::Handshake(refused) => malformed(refused),
        Refusal::NoRoute => refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
        Refusal::Denied | Refusal::Hidden | Refusal::Origin => {
            refusal(StatusCode::FORBIDDEN, "Access denied")
        }
        Refusal::Draining | Refusal::Unknown(Denied::Unavailable(_)) => retry_later(),
        Refusal::Throttled(refused) | Refusal::Unknown(Denied::Limited(refused)) => {
            throttled(*refused)
        }
        Refusal::Unknown(denied) => match app.auth.challenge(denied) {
            Some(challenge) => {
                let mut response = refusal(StatusCode::UNAUTHORIZED, "Unauthorized");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            }
            None => refusal(StatusCode::FORBIDDEN, "Access denied"),
        },
        Refusal::Unavailable(error) => {
            tracing::error!(%error, "a socket could not be opened");
            retry_later()
        }
    }
}

/// Answers a handshake that is none.
#[must_use]
pub fn malformed(refused: &handshake::BadHandshake) -> Response {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = refusal(status, &refused.reason);
    if refused.lists_versions {
        let versions = HeaderValue::from_static(VERSIONS);
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, versions);
    }
    response
}

/// Answers a client that opens too many sockets.
#[must_use]
pub fn throttled(throttled: Throttled) -> Response {
    later(StatusCode::TOO_MANY_REQUESTS, throttled.seconds())
}

/// Answers a client that will find another process, or this one in better shape.
#[must_use]
pub fn retry_later() -> Response {
    later(StatusCode::SERVICE_UNAVAILABLE, 1)
}

fn later(status: StatusCode, seconds: u64) -> Response {
    let mut response = refusal(status, status.canonical_reason().unwrap_or_default());
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

/// Returns an answer without headers and body that says why in its status line, as Autobahn's do.
pub fn refusal(status: StatusCode, reason: impl fmt::Display) -> Response {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    if let Ok(reason) = ReasonPhrase::try_from(reason.to_string().into_bytes()) {
        response.extensions_mut().insert(reason);
    }
    response
}
