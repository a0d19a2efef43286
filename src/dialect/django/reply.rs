//! An answer before it has headers: a status and a value, or a document. What Django adds to every
//! answer of a kind is added here.

use bytes::Bytes;
use hyper::{
    StatusCode,
    header::{
        ALLOW, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, RETRY_AFTER, VARY,
        WWW_AUTHENTICATE, X_FRAME_OPTIONS,
    },
};

use super::{
    drf::{Detail, FieldErrors, Language, Model, View},
    negotiation::Renderer,
    pages,
    rendering::Rendered,
    views::parts::{ReadError, RowSource},
};
use crate::{
    auth::identity::Denied,
    dialect::django::cookies::AnsweredBy,
    http::{
        Body, Response,
        document::{Document, Unopened},
        reply::{HTML, JSON, RETRY_S, json, json_bytes, limited, plain, with_body},
    },
    limits::{
        Meter, Throttled,
        memory::{Answers, NoRoom},
    },
    metrics::SecurityEvent,
    service::ChatError,
    store::{REFUSED, StoreError, Subject},
    telemetry::security::RefusedRequest,
    value::Value,
};

/// Of the readable page, which needs nothing but itself.
const READABLE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Answer of a view.
pub struct Reply {
    pub status: StatusCode,
    pub content: Content,
    /// Seconds after which the client may try again.
    pub retry_after_s: Option<u64>,
    /// The `WWW-Authenticate` header.
    pub challenge: Option<HeaderValue>,
    /// The entry for the security log.
    pub refused: Option<Box<RefusedRequest>>,
}

/// Content of an answer.
pub enum Content {
    Value(Value),
    /// It is still to be read.
    Source(Box<RowSource>),
}

/// The client of an answer, and the form it asked for.
pub struct Recipient<'a> {
    pub renderer: Renderer,
    pub view: View,
    /// The value of the `Allow` header.
    pub allow: &'static str,
    pub is_head: bool,
    pub meter: &'a Meter,
    pub language: Language,
}

impl Reply {
    #[must_use]
    pub fn new(status: StatusCode, body: Value) -> Self {
        Reply {
            status,
            content: Content::Value(body),
            retry_after_s: None,
            challenge: None,
            refused: None,
        }
    }

    #[must_use]
    pub fn ok(body: Value) -> Self {
        Reply::new(StatusCode::OK, body)
    }

    /// Makes an answer that is read while it is sent.
    #[must_use]
    pub fn read(status: StatusCode, source: RowSource) -> Self {
        Reply {
            status,
            content: Content::Source(Box::new(source)),
            retry_after_s: None,
            challenge: None,
            refused: None,
        }
    }

    #[must_use]
    pub fn detail(detail: &Detail, language: Language) -> Self {
        Reply::new(status_of(detail), detail.to_value(language))
    }

    #[must_use]
    pub fn invalid(errors: &FieldErrors) -> Self {
        Reply::new(StatusCode::BAD_REQUEST, errors.to_value())
    }

    /// The client has reached a limit.
    #[must_use]
    pub fn throttled(throttled: Throttled, language: Language) -> Self {
        let seconds = throttled.seconds();
        Reply {
            retry_after_s: Some(seconds),
            refused: Some(limited(throttled).into()),
            ..Reply::detail(&Detail::Throttled(seconds), language)
        }
    }

    /// Marks what the policy keeps from a caller; `reason` is a word for the security log.
    #[must_use]
    pub fn withheld(self, reason: &'static str) -> Self {
        Reply {
            refused: Some(RefusedRequest::new(SecurityEvent::Policy, reason).into()),
            ..self
        }
    }

    /// Returns the answer to a use case that failed.
    #[must_use]
    pub fn failure(error: &ChatError, language: Language) -> Self {
        match error {
            ChatError::NoConversation => {
                Reply::detail(&Detail::NoMatch(Model::Conversation), language)
            }
            ChatError::NoMessage => Reply::detail(&Detail::NoMatch(Model::Message), language),
            ChatError::Hidden(of) => {
                let model = match of {
                    Subject::Conversation(_) => Model::Conversation,
                    Subject::Message(_) => Model::Message,
                };
                Reply::detail(&Detail::NoMatch(model), language).withheld("see")
            }
            ChatError::NotYou | ChatError::NotYours => {
                Reply::detail(&Detail::PermissionDenied, language).withheld("speak")
            }
            ChatError::Alike => {
                Reply::detail(&Detail::Alike(error.to_string()), language).withheld("alike")
            }
            ChatError::TooLong { .. }
            | ChatError::IdTaken
            | ChatError::Attachment(_)
            | ChatError::NotAGroup
            | ChatError::Group(_)
            | ChatError::Off => Reply::detail(&Detail::ParseError(error.to_string()), language),
            // The database's own words about its columns are not for clients.
            ChatError::Store(StoreError::Refused(why)) => {
                tracing::warn!(why, "a request was refused by the database");
                Reply::detail(&Detail::ParseError(REFUSED.to_owned()), language)
            }
            // Without a time to try again: it might be stored twice.
            ChatError::Store(StoreError::Unknown(_)) => {
                tracing::error!(%error, "a request failed");
                Reply::not_now("It is not known whether this was stored.")
            }
            ChatError::Store(_) | ChatError::Layer(_) => {
                tracing::error!(%error, "a request failed");
                Reply::unavailable()
            }
        }
    }

    /// Returns the answer to a caller who must be known and is not: 401 with a challenge where
    /// tokens say who is asking, else 403.
    #[must_use]
    pub fn denied(denied: &Denied, challenge: Option<HeaderValue>, language: Language) -> Self {
        let detail = match denied {
            Denied::NoSession | Denied::NoToken => Detail::NotAuthenticated,
            Denied::BadToken(_) | Denied::ExpiredToken => Detail::AuthenticationFailed,
            Denied::Forged(reason) => Detail::CsrfFailed(reason.clone()),
            Denied::Limited(throttled) => return Reply::throttled(*throttled, language),
            Denied::Unavailable(_) => return Reply::unavailable(),
        };
        let mut reply = Reply::detail(&detail, language);
        reply.refused = denied.refused().map(Box::new);
        reply.challenge = challenge;
        if reply.challenge.is_some() {
            reply.status = StatusCode::UNAUTHORIZED;
        }
        reply
    }

    fn unavailable() -> Self {
        Reply {
            retry_after_s: Some(RETRY_S),
            ..Reply::not_now("The service is not available, try again.")
        }
    }

    /// 503 with this text.
    fn not_now(text: &str) -> Self {
        let body = Value::Map(vec![("detail".into(), text.into())]);
        Reply::new(StatusCode::SERVICE_UNAVAILABLE, body)
    }

    /// Makes the answer in place of a document that cannot be opened: always a value.
    fn unopened(unopened: &Unopened<ReadError>, to: &Recipient<'_>) -> Self {
        match unopened {
            Unopened::Broken(error) => Reply::unread(error, to.language),
            Unopened::NoRoom(NoRoom::OfAll) => Reply::unavailable(),
            Unopened::NoRoom(NoRoom::OfClient) => {
                Reply::throttled(to.meter.no_answer_memory(), to.language)
            }
        }
    }

    fn unread(error: &ReadError, language: Language) -> Self {
        match error {
            ReadError::Chat(error) => Reply::failure(error, language),
            ReadError::Unshowable => {
                let text = Value::List(vec!["Datetime value out of range.".into()]);
                Reply::new(StatusCode::BAD_REQUEST, text)
            }
        }
    }

    /// Returns the answer in the form that was negotiated, with what REST framework puts on every
    /// answer. Of a document the first bytes are read: an error until then is answered as if it
    /// were short.
    pub async fn render(self, to: &Recipient<'_>, answers: &Answers) -> Response {
        let mut reply = self;
        let (body, length) = loop {
            match reply.content {
                Content::Value(value) => break (to.value(&value, reply.status), None),
                Content::Source(source) => {
                    let document = to.document(*source, reply.status, answers);
                    let opened = if to.is_head {
                        let length = document.length(answers).await;
                        length.map(|length| (Body::default(), Some(length)))
                    } else {
                        document.open().await.map(|body| (body, None))
                    };
                    match opened {
                        Ok(opened) => break opened,
                        Err(unopened) => reply = Reply::unopened(&unopened, to),
                    }
                }
            }
        };
        let mut response = to.framed(reply.status, body);
        if let Some(refused) = reply.refused {
            response.extensions_mut().insert(*refused);
        }
        let headers = response.headers_mut();
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if let Some(seconds) = reply.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = reply.challenge {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl Recipient<'_> {
    fn value(&self, value: &Value, status: StatusCode) -> Body {
        match self.renderer {
            Renderer::Json { indent } => Body::new(json_bytes(value, indent).into()),
            Renderer::Html => {
                let pretty = json_bytes(value, Some(4));
                let pretty = String::from_utf8_lossy(&pretty);
                let (name, description) = (self.view.name, self.view.description);
                let page = pages::readable_page(name, description, &status.to_string(), &pretty);
                Body::new(page.into())
            }
        }
    }

    fn document(
        &self,
        source: RowSource,
        status: StatusCode,
        answers: &Answers,
    ) -> Document<Rendered> {
        let (name, description) = (self.view.name, self.view.description);
        let head = pages::readable_page_head(name, description, &status.to_string());
        let rendered = Rendered::new(source, self.renderer, head);
        Document::new(rendered, self.meter, answers)
    }

    fn framed(&self, status: StatusCode, body: Body) -> Response {
        let content_type = match self.renderer {
            Renderer::Json { .. } => JSON,
            Renderer::Html => HTML,
        };
        let mut response = with_body(status, content_type, body);
        let headers = response.headers_mut();
        if self.renderer == Renderer::Html {
            headers.insert(CONTENT_SECURITY_POLICY, READABLE_POLICY);
        }
        headers.insert(VARY, HeaderValue::from_static("Accept, Cookie"));
        headers.insert(ALLOW, HeaderValue::from_static(self.allow));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        response
    }
}

/// Returns the answer to a client that has reached a limit, before anything else of its request is
/// looked at. Its body is not read.
#[must_use]
pub fn throttled(throttled: Throttled, language: Language) -> Response {
    let seconds = throttled.seconds();
    let mut response = compact(&Detail::Throttled(seconds), language);
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response.extensions_mut().insert(limited(throttled));
    response
}

/// Returns an answer that REST framework gives before it has found a renderer: compact JSON, and
/// neither the cookies nor the methods of the view are known yet.
#[must_use]
pub fn unnegotiated(detail: &Detail, allow: &'static str, language: Language) -> Response {
    let mut response = compact(detail, language);
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(ALLOW, HeaderValue::from_static(allow));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

fn compact(detail: &Detail, language: Language) -> Response {
    json(status_of(detail), &detail.to_value(language))
}

fn status_of(detail: &Detail) -> StatusCode {
    StatusCode::from_u16(detail.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

/// Django's page for a path that does not exist.
#[must_use]
pub fn not_found() -> Response {
    framed(plain(StatusCode::NOT_FOUND, HTML, pages::NOT_FOUND))
}

/// Django's page for a form with too many fields.
#[must_use]
pub fn suspicious() -> Response {
    framed(plain(StatusCode::BAD_REQUEST, HTML, pages::BAD_REQUEST))
}

fn framed(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// Django's page for a `Host` it does not take. It is made before `X-Frame-Options` is.
#[must_use]
pub fn bad_host() -> Response {
    plain(StatusCode::BAD_REQUEST, HTML, pages::BAD_REQUEST)
}

/// Redirects to a path with its last slash.
#[must_use]
pub fn moved(location: &str) -> Response {
    let mut response = plain(StatusCode::MOVED_PERMANENTLY, HTML, Bytes::new());
    match HeaderValue::from_str(location) {
        Ok(location) => {
            response.headers_mut().insert(LOCATION, location);
            response
        }
        // Quoting leaves nothing in it that a header could not hold.
        Err(_) => not_found(),
    }
}

/// The part of Django that made an answer decides about its cookies.
#[derive(Debug)]
pub struct Answer {
    pub response: Response,
    pub answered_by: AnsweredBy,
}

impl Answer {
    #[must_use]
    pub fn new(answered_by: AnsweredBy, response: Response) -> Self {
        Answer {
            response,
            answered_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_unknown_fate_is_not_asked_for_again() {
        let answer = |error: StoreError| Reply::failure(&ChatError::Store(error), Language::EnUs);
        let away = answer(StoreError::Unavailable("away".into()));
        assert_eq!(away.retry_after_s, Some(RETRY_S));
        let unknown = answer(StoreError::Unknown("gone".into()));
        assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(unknown.retry_after_s, None);
    }
}
