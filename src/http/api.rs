//! The views of the API, one file for each resource: what a request asks, which use case does it,
//! how the outcome is answered. [`parts`] is what answers of any length are read from.

pub mod conversations;
pub mod messages;
pub mod parts;
pub mod receipts;

use hyper::header::CONTENT_TYPE;

use super::{extract::Request, reply::Reply};
use crate::{
    app::App,
    chat::policy::Caller,
    django::{
        body::{self, BodyError, Data},
        drf::{FieldErrors, Language},
    },
    limits::Action,
    service::ChatError,
    store::Of,
};

/// A view that ends early.
pub enum Failure {
    /// With an answer of REST framework's.
    Reply(Reply),
    /// With Django's bare 400 page.
    Suspicious,
}

/// The parsed body of a request. Views ask for it after they have found their object, so an
/// unknown object wins over a bad body.
fn data(app: &App, request: &Request) -> Result<Data, Failure> {
    let content_type = request.header(&CONTENT_TYPE);
    body::parse(content_type.as_deref(), &request.body)
        .map_err(|error| bad_body(&error, app.language()))
}

fn bad_body(error: &BodyError, language: Language) -> Failure {
    match error.detail() {
        Some(detail) => Failure::Reply(Reply::detail(&detail, language)),
        None => Failure::Suspicious,
    }
}

impl From<FieldErrors> for Failure {
    fn from(errors: FieldErrors) -> Self {
        Failure::Reply(Reply::invalid(&errors))
    }
}

/// Rejects callers who may not see it; to them it is a 404.
async fn admit(app: &App, caller: &Caller, of: Of) -> Result<(), Failure> {
    app.chat.admit(caller, of).await.map_err(failed(app))
}

/// Counts what the request is about to do.
fn allow(app: &App, request: &Request, action: Action) -> Result<(), Failure> {
    let allowed = request.meter.allow(action);
    allowed.map_err(|throttled| Failure::Reply(Reply::throttled(throttled, app.language())))
}

/// Refuses a client that has not made up for the rows it had read.
fn allow_rows(app: &App, request: &Request) -> Result<(), Failure> {
    let allowed = request.meter.allow_rows();
    allowed.map_err(|throttled| Failure::Reply(Reply::throttled(throttled, app.language())))
}

/// The failure of a use case as this server's language tells it.
fn failed(app: &App) -> impl Fn(ChatError) -> Failure {
    let language = app.language();
    move |error| Failure::Reply(Reply::failure(&error, language))
}
