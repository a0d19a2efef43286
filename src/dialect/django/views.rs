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
use crate::{limits::Action, service::ChatError, store::Of};

/// A view that ends early.
pub enum Failure {
    /// With an answer of REST framework's.
    Reply(Reply),
    /// With Django's bare 400 page.
    Suspicious,
}

impl From<FieldErrors> for Failure {
    fn from(errors: FieldErrors) -> Self {
        Failure::Reply(Reply::invalid(&errors))
    }
}

impl Call<'_> {
    fn language(self) -> Language {
        language(&self.app.config)
    }

    /// Returns the parsed body of the request. Views ask for it after they have found their object,
    /// so an unknown object wins over a bad body.
    fn data(self) -> Result<Data, Failure> {
        let content_type = self.request.header(&CONTENT_TYPE);
        body::parse(content_type.as_deref(), &self.request.body)
            .map_err(|error| bad_body(&error, self.language()))
    }

    /// Rejects callers who may not see it; to them it is a 404.
    async fn admit(self, of: Of) -> Result<(), Failure> {
        let admitted = self.app.chat.admit(self.caller, of).await;
        admitted.map_err(self.failed())
    }

    /// Counts what the request is about to do.
    fn allow(self, action: Action) -> Result<(), Failure> {
        let allowed = self.request.meter.allow(action);
        allowed.map_err(|throttled| Failure::Reply(Reply::throttled(throttled, self.language())))
    }

    /// Refuses a client that has not made up for the rows it had read.
    fn allow_rows(self) -> Result<(), Failure> {
        let allowed = self.request.meter.allow_rows();
        allowed.map_err(|throttled| Failure::Reply(Reply::throttled(throttled, self.language())))
    }

    /// Returns the answer to a use case that failed, in this server's language.
    fn failed(self) -> impl Fn(ChatError) -> Failure {
        let language = self.language();
        move |error| Failure::Reply(Reply::failure(&error, language))
    }
}

fn bad_body(error: &BodyError, language: Language) -> Failure {
    match error.detail() {
        Some(detail) => Failure::Reply(Reply::detail(&detail, language)),
        None => Failure::Suspicious,
    }
}
