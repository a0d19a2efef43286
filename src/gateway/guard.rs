//! The policy before Django: what is passed on is what the policy admits.
//!
//! Django's views and consumers may trust everybody, so a request for a conversation that Django
//! serves is held to the same rules as one that is answered here. A request that the policy
//! refuses is answered here, where it is refused in the usual words.

use std::sync::Arc;

use hyper::{
    Method, Request,
    body::Incoming,
    header::{CONTENT_TYPE, UPGRADE},
};

use super::{Gateway, body::Outgoing, decision::Condition, forward::forward};
use crate::{
    app::App,
    auth::{Admission, identity::Credentials},
    chat::policy::Caller,
    dialect::django::{
        body, csrf, language, middleware,
        routes::{Captured, Resource},
    },
    http::{Response, extract},
    limits::Meter,
    store::{Lookup, Subject},
    telemetry::request::Trail,
    ws,
};

/// A request that is not passed on.
#[derive(Debug)]
pub enum Refused {
    Unread(Request<Incoming>),
    /// Its body had to be read to know who speaks.
    Read(Method, Result<extract::Request, extract::Unreadable>),
}

/// Passes a request on to Django if the caller meets the condition, and answers with what Django
/// answers.
///
/// # Errors
/// [`Refused`] if the caller does not.
pub async fn pass_on(
    app: &Arc<App>,
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    condition: Condition,
    trail: &Trail,
) -> Result<Response, Refused> {
    let admission = match condition {
        Condition::None => Some(Admission::default()),
        Condition::Known => known(app, &request).await,
        Condition::Socket(id) => socket(app, &request, Subject::Conversation(id)).await,
        Condition::Api(resource) => return api(app, gateway, request, resource, trail).await,
    };
    match admission {
        Some(admission) => {
            let request = request.map(Outgoing::streaming);
            Ok(forward(app, gateway, request, admission, trail).await)
        }
        None => Err(Refused::Unread(request)),
    }
}

async fn known(app: &App, request: &Request<Incoming>) -> Option<Admission> {
    let meter = Meter::of(request);
    let admission = app.auth.admit(&Credentials::of(request), &meter).await;
    let admission = admission.ok()?;
    is_within_limits(&meter, &admission).then_some(admission)
}

/// The limits of the user are asked when the socket takes its seat.
async fn socket(app: &App, request: &Request<Incoming>, of: Subject) -> Option<Admission> {
    if !ws::origin::is_allowed(app, request) {
        return None;
    }
    let admission = app
        .auth
        .admit_socket(&Credentials::of(request), &Meter::of(request))
        .await
        .ok()?;
    app.chat.admit(&admission.caller, of).await.ok()?;
    Some(admission)
}

/// Passes a request for a resource of the API on. It is read whole, as the body may say for whom
/// it speaks, and it is never a handshake, whatever its headers say.
async fn api(
    app: &Arc<App>,
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    resource: Resource,
    trail: &Trail,
) -> Result<Response, Refused> {
    let (mut head, body) = request.into_parts();
    head.headers.remove(UPGRADE);
    let whole = extract::Request::read(head.clone(), body, &app.bodies).await;
    let whole = whole.map_err(|unreadable| Refused::Read(head.method.clone(), Err(unreadable)))?;
    match admit(app, &whole, &resource).await {
        Some(admission) => {
            let request = Request::from_parts(head, Outgoing::Whole(whole.body.clone()));
            Ok(forward(app, gateway, request, admission, trail).await)
        }
        None => Err(Refused::Read(head.method, Ok(whole))),
    }
}

/// Asks what a view of ours asks before it does anything.
async fn admit(app: &App, request: &extract::Request, resource: &Resource) -> Option<Admission> {
    if !resource.row.allows(&request.method) {
        return None;
    }
    let admission = middleware::authenticate(app, request).await.ok()?;
    if !is_within_limits(&request.meter, &admission) {
        return None;
    }
    let caller = &admission.caller;
    match resource.captured {
        Captured::Conversation(id) => app
            .chat
            .admit(caller, Subject::Conversation(id))
            .await
            .ok()?,
        Captured::Message(id) => app.chat.admit(caller, Subject::Message(id)).await.ok()?,
        Captured::Nothing | Captured::User(_) => {}
    }
    let lookup = speaks_for_itself(app, caller, request, resource).ok()?;
    // A lookup by which Django would find other users is answered here.
    if let Some(lookup) = lookup
        && app.chat.finds_others(caller, lookup).await.ok()?
    {
        return None;
    }
    if let Some(action) = resource.row.action {
        request.meter.allow(action).ok()?;
    }
    Some(admission)
}

/// The caller is not the user the request speaks for.
struct NotYou;

/// Checks that the caller is the user the request speaks for. A body that we refuse names no user,
/// and one that Django may read as other characters is answered here. Gives what Django will look
/// up by user ids.
fn speaks_for_itself(
    app: &App,
    caller: &Caller,
    request: &extract::Request,
    resource: &Resource,
) -> Result<Option<Lookup>, NotYou> {
    if *caller == Caller::Anybody || csrf::is_safe(&request.method) {
        return match &resource.captured {
            Captured::User(user) if caller.is(user) => {
                Ok(Some(Lookup::Conversations(user.clone())))
            }
            Captured::User(_) => Err(NotYou),
            _ => Ok(None),
        };
    }
    let content_type = request.header(&CONTENT_TYPE);
    // Of several types each server takes the one it likes.
    let is_one = request.values(&CONTENT_TYPE).len() <= 1;
    if !is_one || !body::is_utf8(content_type.as_deref(), &request.body) {
        return Err(NotYou);
    }
    let data = body::parse(content_type.as_deref(), &request.body).map_err(|_| NotYou)?;
    let id = match resource.captured {
        Captured::Message(id) => Some(id),
        _ => None,
    };
    let spoken = resource.row.spoken.ok_or(NotYou)?;
    let spoken = spoken(&data, language(&app.config), id).map_err(|_| NotYou)?;
    if spoken.users.iter().any(|user| caller.is(user)) {
        Ok(spoken.lookup)
    } else {
        Err(NotYou)
    }
}

fn is_within_limits(meter: &Meter, admission: &Admission) -> bool {
    let user = admission.user.as_deref();
    user.is_none_or(|user| meter.is_user(user).is_ok())
}
