//! Has a request answered once it has been read, and counts and logs it.

use std::time::Instant;

use hyper::{Method, StatusCode};

use super::{
    Response,
    extract::{Request, Unreadable},
    reply,
};
use crate::{
    app::App,
    telemetry::{
        request::{ACCESS, Trail, micros},
        security,
    },
};

/// The label of a request's route in the metrics where it could not be read.
pub const UNREADABLE: &str = "unreadable";

/// An answer with the label of its route in the metrics.
pub type Answered = (&'static str, Response);

/// Answers a request once it has been read, and counts it.
pub async fn serve(
    app: &App,
    method: &Method,
    read: impl Future<Output = Result<Request, Unreadable>>,
    answer: impl AsyncFnOnce(&Request) -> Answered,
    trail: &Trail,
) -> Response {
    let began = Instant::now();
    let mut user = None;
    let (route, mut response) = match read.await {
        Ok(request) => {
            let (route, response) = answer(&request).await;
            user = request.user.get().cloned();
            // An answer may repeat the body.
            match request.into_room() {
                Some(room) => (route, response.map(|body| body.holding(room))),
                None => (route, response),
            }
        }
        Err(unreadable) => (UNREADABLE, refuse(unreadable)),
    };
    let (status, took) = (response.status().as_u16(), began.elapsed());
    app.metrics
        .rest_request(route, method.as_str(), status, took);
    tracing::debug!(
        target: ACCESS,
        %method,
        route,
        status,
        took_us = micros(took),
        client = trail.client.map(tracing::field::display),
        user = user.as_deref(),
        path = &*trail.path(),
        "answered"
    );
    if let Some(refused) = response
        .extensions_mut()
        .get_mut::<security::RefusedRequest>()
    {
        refused.user = user;
    }
    response
}

fn refuse(unreadable: Unreadable) -> Response {
    reply::bare(match unreadable {
        Unreadable::NoRoom => return reply::no_room(),
        Unreadable::Target | Unreadable::Broken => StatusCode::BAD_REQUEST,
        Unreadable::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Unreadable::TooSlow => StatusCode::REQUEST_TIMEOUT,
    })
}
