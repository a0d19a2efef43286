//! One request to the API: who asks, its parameters and its body.

use std::sync::Arc;

use hyper::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    super::cursor::Cursor,
    problem::{Problem, ProblemCode},
};
use crate::{
    app::App,
    auth::{Admission, identity::Credentials},
    chat::policy::Caller,
    http::{Body, Response, extract::Request, reply::ours},
    hub::frames::DialectSlot,
    id::ConversationId,
    limits::{
        LimitedAction,
        memory::{NoRoom, Share},
    },
    python::datetime::Timestamp,
};

/// One request whose caller is known.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub app: &'a Arc<App>,
    pub slot: DialectSlot,
    pub request: &'a Request,
    pub admission: &'a Admission,
}

/// An id in a body.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct GivenId(pub Uuid);

impl TryFrom<String> for GivenId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Uuid::try_parse(&text)
            .map(GivenId)
            .map_err(|_| "an id must be a UUID")
    }
}

/// Makes an answer without a body.
#[must_use]
pub fn nothing() -> Response {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

impl Call<'_> {
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.admission.caller
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::by(self.app.store.committer().clock())
    }

    /// Returns a query parameter, the last one of its name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.request.query.as_deref();
        let headers = &self.request.headers;
        Credentials { headers, query }.parameter(name)
    }

    /// Returns the user that the request speaks for: the one that is named, or the caller.
    ///
    /// # Errors
    /// If no user is named and users are not identified, or the caller may not speak for the named
    /// one.
    pub fn speaker(&self, named: Option<String>) -> Result<String, Problem> {
        let own = || self.admission.user.as_deref().map(str::to_owned);
        let user = named.or_else(own).filter(|user| !user.is_empty());
        let missing = || Problem::new(ProblemCode::NoSender, "it needs a user");
        let user = user.ok_or_else(missing)?;
        self.app.chat_with_groups.admit_as(self.caller(), &user)?;
        Ok(user)
    }

    /// Returns the user of the parameter `user`, or the caller.
    ///
    /// # Errors
    /// As those of [`speaker`](Self::speaker).
    pub fn user(&self) -> Result<String, Problem> {
        self.speaker(self.parameter("user"))
    }

    /// Returns the parameter `limit`.
    ///
    /// # Errors
    /// When it is no number from 1 to `most`.
    pub fn limit(&self, default: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.parameter("limit") else {
            return Ok(default);
        };
        let number = text.parse().ok();
        let within = number.filter(|number| (1..=most).contains(number));
        within.ok_or_else(|| Problem::bad(format!("limit must be a number from 1 to {most}")))
    }

    /// Returns a parameter that is a cursor.
    ///
    /// # Errors
    /// When it is none of this server's.
    pub fn cursor(&self, name: &str) -> Result<Option<Cursor>, Problem> {
        let parsed = self.parameter(name).map(|text| text.parse()).transpose();
        parsed.map_err(|error| Problem::bad(format!("{name}: {error}")))
    }

    /// Returns a parameter that is a list of ids with commas between them.
    ///
    /// # Errors
    /// When one of them is no UUID, or there are more than `most`.
    pub fn ids<T: From<Uuid>>(&self, name: &str, most: usize) -> Result<Vec<T>, Problem> {
        let text = self.parameter(name).unwrap_or_default();
        let texts = text.split(',').filter(|it| !it.is_empty());
        let ids: Result<Vec<Uuid>, _> = texts.map(Uuid::try_parse).collect();
        let ids = ids.map_err(|_| Problem::bad(format!("{name}: an id must be a UUID")))?;
        if ids.len() > most {
            return Err(Problem::bad(format!("{name} takes up to {most} ids")));
        }
        Ok(ids.into_iter().map(T::from).collect())
    }

    /// Reads the body, which is JSON.
    ///
    /// # Errors
    /// When it is not, or has not the members that it needs.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // A page of another site cannot send this type unless it was let.
        let sent = self.request.header(&CONTENT_TYPE).unwrap_or_default();
        let kind = sent.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let why = "the body must be application/json";
            return Err(Problem::new(ProblemCode::UnsupportedMediaType, why));
        }
        serde_json::from_slice(&self.request.body).map_err(|error| Problem::bad(error.to_string()))
    }

    /// Checks that the conversation is there and active, and the caller may know of it.
    ///
    /// # Errors
    /// [`ProblemCode::NoConversation`] if not.
    pub async fn admit(&self, id: ConversationId) -> Result<(), Problem> {
        self.app
            .chat_with_groups
            .admit_socket(self.caller(), id)
            .await?;
        Ok(())
    }

    /// Counts what the request is about to do.
    ///
    /// # Errors
    /// [`ProblemCode::Throttled`]
    pub fn allow(&self, action: LimitedAction) -> Result<(), Problem> {
        Ok(self.request.meter.allow(action)?)
    }

    /// Refuses a client that has not made up for the rows that it had read.
    ///
    /// # Errors
    /// [`ProblemCode::Throttled`]
    pub fn allow_rows(&self) -> Result<(), Problem> {
        Ok(self.request.meter.allow_rows()?)
    }

    /// Makes an answer of JSON, which takes room for its bytes until they are sent. Nobody keeps it:
    /// it is for one caller.
    ///
    /// # Errors
    /// [`ProblemCode::Throttled`] or [`ProblemCode::Unavailable`] when there is no room.
    pub fn json(&self, status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
        // Texts and numbers, written into memory: nothing here can fail.
        let body = serde_json::to_vec(value).unwrap_or_default();
        let mut lease = self.share().nothing();
        lease.fit(body.len()).map_err(|refused| match refused {
            NoRoom::OfAll => Problem::unavailable(),
            NoRoom::OfClient => self.request.meter.no_answer_memory().into(),
        })?;
        let mut response = ours(status, "application/json", lease.held_by(body));
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        Ok(response)
    }

    /// As [`json`](Self::json), with the status 200.
    ///
    /// # Errors
    /// As those of [`json`](Self::json).
    pub fn ok(&self, value: &impl Serialize) -> Result<Response, Problem> {
        self.json(StatusCode::OK, value)
    }

    /// Returns the memory that the answers to this client share.
    #[must_use]
    pub fn share(&self) -> Share {
        let client = self.request.meter.answer_pools();
        Share::new(client, self.app.answers.pool.clone())
    }

    pub fn charge_rows(&self, rows: usize) {
        self.request.meter.charge_rows(rows);
    }
}
