//! Why a request was not done, as RFC 9457 writes it. Each code has its status in one table.

use std::borrow::Cow;

use hyper::{
    StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use crate::{
    auth::identity::Denied,
    chat::GroupRefusal,
    files::{FileError, upload::UploadError},
    http::{
        Response,
        reply::{RETRY_S, limited, ours},
    },
    limits::Throttled,
    metrics::SecurityEvent,
    service::{AttachmentError, ChatError},
    store::StoreError,
    telemetry::security::RefusedRequest,
};

/// Why a request was not done. A code says the same here and in the frames of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// There is no such path.
    NotFound,
    MethodNotAllowed,
    /// A parameter or a member of the body is missing or of a wrong form.
    BadRequest,
    UnsupportedMediaType,
    /// The caller must be known and is not.
    Denied,
    /// The page of another site may have made a browser ask.
    Forged,
    NotYou,
    NotYours,
    /// The rules of groups are against it.
    NotOwner,
    NotAGroup,
    NoMember,
    TooFewMembers,
    TooManyMembers,
    LastOwner,
    /// The server lacks what is asked for.
    Off,
    NoSender,
    NoConversation,
    NoMessage,
    NoAttachment,
    /// The range of bytes is not in the file.
    NoRange,
    /// The files of the user take all the room that they may.
    Quota,
    /// There is no room for the file.
    Full,
    IdTaken,
    AmbiguousUser,
    TooLong,
    Refused,
    Throttled,
    /// It is not known whether it was done; sent again it is done once.
    Unknown,
    Unavailable,
}

impl ProblemCode {
    /// Returns the status of an answer with this code, and whether the same may be asked later.
    #[must_use]
    pub const fn row(self) -> (StatusCode, bool) {
        match self {
            ProblemCode::NotFound
            | ProblemCode::NoConversation
            | ProblemCode::NoMessage
            | ProblemCode::NoMember
            | ProblemCode::NoAttachment => (StatusCode::NOT_FOUND, false),
            ProblemCode::NoRange => (StatusCode::RANGE_NOT_SATISFIABLE, false),
            ProblemCode::Full => (StatusCode::INSUFFICIENT_STORAGE, true),
            ProblemCode::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, false),
            ProblemCode::BadRequest | ProblemCode::NoSender | ProblemCode::Refused => {
                (StatusCode::BAD_REQUEST, false)
            }
            ProblemCode::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, false),
            ProblemCode::Denied => (StatusCode::UNAUTHORIZED, false),
            ProblemCode::Forged
            | ProblemCode::NotYou
            | ProblemCode::NotYours
            | ProblemCode::NotOwner => (StatusCode::FORBIDDEN, false),
            ProblemCode::Off => (StatusCode::NOT_IMPLEMENTED, false),
            ProblemCode::IdTaken
            | ProblemCode::AmbiguousUser
            | ProblemCode::NotAGroup
            | ProblemCode::TooFewMembers
            | ProblemCode::TooManyMembers
            | ProblemCode::LastOwner => (StatusCode::CONFLICT, false),
            ProblemCode::TooLong | ProblemCode::Quota => (StatusCode::PAYLOAD_TOO_LARGE, false),
            ProblemCode::Throttled => (StatusCode::TOO_MANY_REQUESTS, true),
            ProblemCode::Unknown | ProblemCode::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, true)
            }
        }
    }
}

/// A request that was not done.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: ProblemCode,
    detail: Cow<'static, str>,
    retry_after_s: Option<u64>,
    allow: Option<String>,
    challenge: Option<HeaderValue>,
    refused: Option<RefusedRequest>,
    size: Option<u64>,
}

/// The body of an answer.
#[derive(Serialize)]
struct ProblemView<'a> {
    /// No address of its own: the code says which problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: ProblemCode,
    retry: bool,
}

impl Problem {
    /// Makes a problem; `detail` is for people.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Problem(Box::new(Parts {
            code,
            detail: detail.into(),
            retry_after_s: None,
            allow: None,
            challenge: None,
            refused: None,
            size: None,
        }))
    }

    /// Makes a problem of a parameter or a body.
    #[must_use]
    pub fn bad(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(ProblemCode::BadRequest, detail)
    }

    /// Makes the problem of a method that a path does not have.
    #[must_use]
    pub fn not_allowed(allow: String) -> Self {
        let mut problem = Problem::new(ProblemCode::MethodNotAllowed, "");
        problem.0.allow = Some(allow);
        problem
    }

    /// Makes the problem of a caller who is not let in. `challenge` says how to show a token.
    #[must_use]
    pub fn denied(denied: &Denied, challenge: Option<HeaderValue>) -> Self {
        let mut problem = match denied {
            Denied::Limited(throttled) => return Problem::from(*throttled),
            Denied::Unavailable(_) => return Problem::unavailable(),
            Denied::Forged(why) => Problem::new(ProblemCode::Forged, why.clone()),
            // Why a token is not good is for the log.
            denied => Problem::new(ProblemCode::Denied, denied.label()),
        };
        problem.0.challenge = challenge;
        problem.0.refused = denied.refused();
        problem
    }

    /// Makes the problem of a server that cannot do it now.
    #[must_use]
    pub fn unavailable() -> Self {
        let mut problem = Problem::new(ProblemCode::Unavailable, "");
        problem.0.retry_after_s = Some(RETRY_S);
        problem
    }

    /// Makes the problem of a file that cannot be uploaded, sent or read.
    fn of_attachment(error: &AttachmentError) -> Self {
        let with = |code| Problem::new(code, error.to_string());
        match error {
            AttachmentError::Missing
            | AttachmentError::Upload(UploadError::File(FileError::Missing)) => {
                with(ProblemCode::NoAttachment)
            }
            AttachmentError::TooMany(_) | AttachmentError::Upload(UploadError::TooLarge(_)) => {
                with(ProblemCode::TooLong)
            }
            AttachmentError::WrongType(_) => with(ProblemCode::UnsupportedMediaType),
            AttachmentError::Quota(_) => with(ProblemCode::Quota),
            AttachmentError::Upload(UploadError::Busy) => Problem::unavailable(),
            AttachmentError::Upload(UploadError::File(FileError::Full)) => {
                tracing::error!(%error, "a file cannot be kept");
                with(ProblemCode::Full)
            }
            // Where files are is for the log.
            AttachmentError::Upload(UploadError::File(_)) => {
                tracing::error!(%error, "files cannot be kept or read");
                let mut problem = Problem::unavailable();
                problem.0.detail = "the place of the files cannot be used".into();
                problem
            }
            AttachmentError::Upload(_) => with(ProblemCode::BadRequest),
        }
    }

    /// Adds the size of the file that has no such range.
    #[must_use]
    pub fn of_size(mut self, size: u64) -> Self {
        self.0.size = Some(size);
        self
    }

    /// Marks what the policy keeps from a caller, for the security log.
    fn withheld(mut self, reason: &'static str) -> Self {
        self.0.refused = Some(RefusedRequest::new(SecurityEvent::Policy, reason));
        self
    }

    /// Makes the answer.
    #[must_use]
    pub fn response(self) -> Response {
        let parts = *self.0;
        let (mut status, retry) = parts.code.row();
        if parts.code == ProblemCode::Denied && parts.challenge.is_none() {
            // 401 would have to say how a token is shown, and none is taken.
            status = StatusCode::FORBIDDEN;
        }
        let view = ProblemView {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &parts.detail,
            code: parts.code,
            retry,
        };
        // Texts and numbers, written into memory: nothing here can fail.
        let body = serde_json::to_vec(&view).unwrap_or_default();
        let mut response = ours(status, "application/problem+json", body);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = parts.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = parts.allow.and_then(|it| HeaderValue::try_from(it).ok()) {
            headers.insert(ALLOW, allow);
        }
        let range = parts.size.map(|size| format!("bytes */{size}"));
        if let Some(range) = range.and_then(|it| HeaderValue::try_from(it).ok()) {
            headers.insert(CONTENT_RANGE, range);
        }
        if let Some(challenge) = parts.challenge {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(refused) = parts.refused {
            response.extensions_mut().insert(refused);
        }
        response
    }
}

impl From<Throttled> for Problem {
    fn from(throttled: Throttled) -> Self {
        let mut problem = Problem::new(ProblemCode::Throttled, "too many requests");
        problem.0.retry_after_s = Some(throttled.seconds());
        problem.0.refused = Some(limited(throttled));
        problem
    }
}

impl From<ChatError> for Problem {
    fn from(error: ChatError) -> Self {
        let told = |code| Problem::new(code, error.to_string());
        match &error {
            // Somebody else's conversation is as one that is not there.
            ChatError::Hidden(_) => {
                let not_there = ChatError::NoConversation.to_string();
                Problem::new(ProblemCode::NoConversation, not_there).withheld("see")
            }
            ChatError::NoConversation => told(ProblemCode::NoConversation),
            ChatError::NoMessage => told(ProblemCode::NoMessage),
            ChatError::NotYou => told(ProblemCode::NotYou).withheld("speak"),
            ChatError::NotYours => told(ProblemCode::NotYours).withheld("change"),
            ChatError::NotAGroup => told(ProblemCode::NotAGroup),
            ChatError::Group(refusal) => match refusal {
                GroupRefusal::NotThere => told(ProblemCode::NoConversation),
                GroupRefusal::NotOwner => told(ProblemCode::NotOwner).withheld("change"),
                GroupRefusal::NoMember => told(ProblemCode::NoMember),
                GroupRefusal::Alone => told(ProblemCode::TooFewMembers),
                GroupRefusal::Full(_) => told(ProblemCode::TooManyMembers),
                GroupRefusal::LastOwner => told(ProblemCode::LastOwner),
            },
            ChatError::Off => told(ProblemCode::Off),
            ChatError::IdTaken => told(ProblemCode::IdTaken),
            ChatError::TooLong { .. } => told(ProblemCode::TooLong),
            ChatError::Attachment(why) => Problem::of_attachment(why),
            ChatError::Alike => told(ProblemCode::AmbiguousUser).withheld("alike"),
            // The database's own words are for the log.
            ChatError::Store(StoreError::Refused(why)) => {
                tracing::warn!(why, "a request was refused by the database");
                Problem::new(
                    ProblemCode::Refused,
                    "the database cannot store these values",
                )
            }
            ChatError::Store(StoreError::Unknown(_)) => {
                tracing::error!(%error, "a request failed");
                Problem::new(ProblemCode::Unknown, "")
            }
            ChatError::Store(_) | ChatError::Layer(_) => {
                tracing::error!(%error, "a request failed");
                Problem::unavailable()
            }
        }
    }
}
