//! The REST API of our own, under the identity, policy and limits of everything else. It serves the
//! conversations of the sockets that speak `chatferry.v1`, in the same words and with the same
//! cursors; `API.md` beside this file specifies it.
//!
//! | | |
//! |---|---|
//! | [`routes`] | the URLs, one row each |
//! | [`call`], [`problem`] | what a request asks, and why it was not done |
//! | [`conversations`], [`messages`], [`groups`], [`marks`], [`overview`], [`attachments`] | the handlers |
//! | [`events`] | what is said in a conversation, as it is said |
//! | [`views`], [`openapi`] | what is shown, and its document |

pub mod attachments;
pub mod call;
pub mod conversations;
pub mod events;
pub mod groups;
pub mod marks;
pub mod messages;
pub mod openapi;
pub mod overview;
pub mod problem;
pub mod routes;
pub mod views;

use std::sync::Arc;

use hyper::{
    Method, StatusCode,
    body::Incoming,
    header::{ALLOW, HeaderValue},
};

use self::{
    call::Call,
    problem::{Problem, ProblemCode},
    routes::{Captured, Handler, Row, Way},
};
use crate::{
    app::App,
    auth::{Admission, identity::Credentials},
    config::Prefix,
    http::{Body, Response, extract::Request, serve::Answered},
    hub::frames::DialectSlot,
    telemetry::trace,
};

/// Headers that pages of other sites may send: Django's, the key under which a message is sent once,
/// and the place from which a reader of events goes on that is no `EventSource`.
pub const SHARED_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, authorization, content-type, idempotency-key, last-event-id, user-agent, x-csrftoken, \
     x-requested-with",
);

/// Returns whether the body of a request to this path after the prefix is read as it comes.
#[must_use]
pub fn takes_stream(method: &Method, path: &str) -> bool {
    let way = Row::of(path).and_then(|(row, _)| row.way(method.as_str()));
    way.is_some_and(|way| matches!(way.handler, Handler::Stream(_)))
}

/// Answers a request below the prefix of the API; `body` if it was not read.
pub async fn answer(
    app: &Arc<App>,
    slot: DialectSlot,
    prefix: &Prefix,
    request: &Request,
    body: Option<Incoming>,
) -> Answered {
    let path = request.path.strip_prefix(prefix.as_str());
    let Some((row, captured)) = path.and_then(Row::of) else {
        let problem = Problem::new(ProblemCode::NotFound, "there is no such path");
        return ("own_unknown", problem.response());
    };
    trace::note(|span| {
        span.route(&format!("{prefix}{}", row.path));
        if let Some(id) = captured.conversation {
            span.set("conversation_id", id.to_string());
        }
    });
    if request.method == "OPTIONS" {
        return (row.label, options(row));
    }
    let Some(way) = row.way(&request.method) else {
        return (row.label, Problem::not_allowed(row.allow()).response());
    };
    // On the heap, so that the futures around it are small.
    let done = Box::pin(perform(app, slot, (request, body), way, captured)).await;
    (row.label, done.unwrap_or_else(Problem::response))
}

fn options(row: &Row) -> Response {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allow) = HeaderValue::try_from(row.allow()) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

async fn perform(
    app: &Arc<App>,
    slot: DialectSlot,
    (request, body): (&Request, Option<Incoming>),
    way: &Way,
    captured: Captured,
) -> Result<Response, Problem> {
    if let (Handler::Linked(handler), Some(id)) = (way.handler, captured.attachment) {
        return handler(app, request, id).await;
    }
    let admission = authenticate(app, request, way).await?;
    if let Some(user) = &admission.user {
        let counted = request.meter.is_user(user);
        let _ = request.user.set(Arc::clone(user));
        counted?;
    }
    let call = Call {
        app,
        slot,
        request,
        admission: &admission,
    };
    if let (Handler::Attachment(handler), Some(id)) = (way.handler, captured.attachment) {
        return handler(call, id).await;
    }
    match (way.handler, captured.conversation, captured.message) {
        (Handler::Plain(handler), ..) => handler(call).await,
        (Handler::Conversation(handler), Some(id), _) => handler(call, id).await,
        (Handler::Message(handler), Some(id), Some(message)) => handler(call, id, message).await,
        (Handler::Stream(handler), ..) => handler(call, body).await,

        // A test holds each row's handlers to its path.
        _ => Err(Problem::new(ProblemCode::NotFound, "")),
    }
}

/// Finds out who is asking. A caller known by a cookie must show that no page of another site made
/// the browser ask for something to be changed.
async fn authenticate(app: &App, request: &Request, way: &Way) -> Result<Admission, Problem> {
    let asked = Credentials {
        headers: &request.headers,
        query: request.query.as_deref(),
    };
    let admitted = if way.is_stream {
        app.auth.admit_socket(&asked, &request.meter).await
    } else {
        app.auth.admit(&asked, &request.meter).await
    };
    let guarded = admitted.and_then(|admission| {
        if admission.by_cookie && way.method != "GET" {
            app.auth.guard(&asked, None)?;
        }
        Ok(admission)
    });
    guarded.map_err(|denied| {
        let challenge = app.auth.challenge(&denied);
        Problem::denied(&denied, challenge)
    })
}
