//! The views of the API, one file for each resource: what a request asks, which use case does it,
//! how the outcome is answered. [`parts`] is what answers of any length are read from.

pub mod conversations;
pub mod messages;
pub mod parts;
pub mod receipts;

use hyper::header::CONTENT_TYPE;

use super::{
    body::{self, BodyError, Data},
    drf::{FieldErrors, Language},
    language,
    reply::Reply,
    routes::Call,
};
use crate::{limits::LimitedAction, service::ChatError, store::Subject};

/// A view that ends early.
pub enum ViewFailure {
    /// With an answer of REST framework's.
    Reply(Reply),
    /// With Django's bare 400 page.
    Suspicious,
}

impl From<FieldErrors> for ViewFailure {
    fn from(errors: FieldErrors) -> Self {
        ViewFailure::Reply(Reply::invalid(&errors))
    }
}

impl Call<'_> {
    fn language(self) -> Language {
        language(&self.app.config)
    }

    /// Returns the parsed body of the request. Views ask for it after they have found their object,
    /// so an unknown object wins over a bad body.
    fn data(self) -> Result<Data, ViewFailure> {
        let content_type = self.request.header(&CONTENT_TYPE);
        body::parse(content_type.as_deref(), &self.request.body)
            .map_err(|error| bad_body(&error, self.language()))
    }

    /// Rejects callers who may not see it; to them it is a 404.
    async fn admit(self, of: Subject) -> Result<(), ViewFailure> {
        let admitted = self.app.chat.admit(self.caller, of).await;
        admitted.map_err(self.failed())
    }

    /// Counts what the request is about to do.
    fn allow(self, action: LimitedAction) -> Result<(), ViewFailure> {
        let allowed = self.request.meter.allow(action);
        allowed
            .map_err(|throttled| ViewFailure::Reply(Reply::throttled(throttled, self.language())))
    }

    /// Refuses a client that has not made up for the rows it had read.
    fn allow_rows(self) -> Result<(), ViewFailure> {
        let allowed = self.request.meter.allow_rows();
        allowed
            .map_err(|throttled| ViewFailure::Reply(Reply::throttled(throttled, self.language())))
    }

    /// Returns the answer to a use case that failed, in this server's language.
    fn failed(self) -> impl Fn(ChatError) -> ViewFailure {
        let language = self.language();
        move |error| ViewFailure::Reply(Reply::failure(&error, language))
    }
}

fn bad_body(error: &BodyError, language: Language) -> ViewFailure {
    match error.detail() {
        Some(detail) => ViewFailure::Reply(Reply::detail(&detail, language)),
        None => ViewFailure::Suspicious,
    }
}
