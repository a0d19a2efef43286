//! The order in which a request is looked at: Daphne, then Django's middleware, then REST
//! framework, then the view. An earlier refusal wins over a later one.

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderValue, SET_COOKIE, VARY},
};

use super::{
    basic_auth,
    body::{self, Entry},
    docs,
    drf::{Detail, options_metadata},
    host,
    identity::has_session,
    language,
    multipart::is_refused_by_twisted,
    negotiation::{NotNegotiated, negotiate},
    page,
    reply::{self, Answer, Recipient, Reply},
    routes::{Call, Captured, Handler, Resource, Route},
    views::ViewFailure,
};
use crate::{
    app::App,
    auth::{
        Admission,
        identity::{Credentials, Denied},
    },
    clock::since_1970,
    dialect::django::{
        cookies::{self, AnsweredBy, Cookies},
        csrf,
    },
    http::{
        Response,
        extract::Request,
        ops::{Endpoint, Probe},
        reply::{bare, read_only},
        serve::{Answered, UNREADABLE},
    },
    python::urls::append_slash_location,
    random,
    telemetry::trace,
};

/// Answers a request. `probes` are for `/readyz`.
pub async fn answer(app: &App, probes: &[Probe], request: &Request) -> Answered {
    let content_type = request.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if is_refused_by_twisted(&request.sent_method, content_type, &request.body) {
        return (UNREADABLE, bare(StatusCode::BAD_REQUEST));
    }
    if let Some(endpoint) = Endpoint::of(&request.path, &app.config) {
        trace::note(|span| span.route(endpoint.path()));
        let answered = endpoint.answer(app, probes, &request.method, true);
        return (endpoint.label(), answered.await);
    }
    let route = Route::of(&request.path, &app.config);
    let label = route.as_ref().map_or("unknown", Route::label);
    if let Some(route) = &route {
        trace::note(|span| span.route(&route.template(&app.config)));
    }
    let answer = match route {
        Some(ref ours) if ours.is_read_only() && !matches!(&*request.method, "GET" | "HEAD") => {
            return (label, read_only());
        }
        _ if !host::is_valid(&request.values(&HOST)) => {
            Answer::new(AnsweredBy::Outside, reply::bad_host())
        }
        Some(Route::Index) if page::is_opened(request) => {
            return (label, page::index(&app.config));
        }
        Some(Route::Page) => return (label, page::chat_page(app)),
        Some(Route::Docs) => return (label, docs::docs()),
        Some(Route::OpenApi) => return (label, docs::openapi(&app.config)),
        Some(Route::AsyncApi) => return (label, docs::asyncapi(&app.config)),
        Some(Route::Events) => return (label, docs::events(&app.config)),
        Some(Route::Api(resource)) => view(app, request, resource).await,
        Some(Route::Index) | None => unknown(app, request),
    };
    (label, with_cookies(app, request, answer).await)
}

/// Answers a path that does not exist, or only lacks its last slash. Django redirects every method,
/// and clients then lose the body of a POST: the original does too.
fn unknown(app: &App, request: &Request) -> Answer {
    let with_slash = format!("{}/", request.path);
    match Route::of(&with_slash, &app.config) {
        Some(Route::Api(_) | Route::Page) if !request.path.ends_with('/') => {
            let location = append_slash_location(&request.path, request.query.as_deref());
            Answer::new(AnsweredBy::Middleware, reply::moved(&location))
        }
        _ => Answer::new(AnsweredBy::Outside, reply::not_found()),
    }
}

/// Does what REST framework does around a view.
async fn view(app: &App, request: &Request, resource: Resource) -> Answer {
    let (row, language) = (resource.row, language(&app.config));
    let accept = request.header(&ACCEPT);
    let renderer = match negotiate(accept.as_deref(), request.query.as_deref()) {
        Ok(renderer) => renderer,
        Err(refused) => {
            let unnegotiated = |detail| reply::unnegotiated(&detail, row.allow, language);
            let response = match refused {
                NotNegotiated::NotAcceptable => unnegotiated(Detail::NotAcceptable),
                NotNegotiated::UnknownFormat => unnegotiated(Detail::NotFound),
                NotNegotiated::TooManyFields(_) => reply::suspicious(),
            };
            return Answer::new(AnsweredBy::Outside, response);
        }
    };
    let recipient = Recipient {
        renderer,
        view: row.view,
        allow: row.allow,
        is_head: request.method == Method::HEAD.as_str(),
        meter: &request.meter,
        language,
    };
    // On the heap, so that the futures around it are small, and nested no deeper than the compiler
    // follows.
    let response = match Box::pin(perform(app, request, resource)).await {
        Ok(reply) | Err(ViewFailure::Reply(reply)) => reply.render(&recipient, &app.answers).await,
        Err(ViewFailure::Suspicious) => reply::suspicious(),
    };
    Answer::new(AnsweredBy::View, response)
}

async fn perform(app: &App, request: &Request, resource: Resource) -> Result<Reply, ViewFailure> {
    let language = language(&app.config);
    if let Some(refused) = basic_auth::refuse(request.header(&AUTHORIZATION).as_deref()) {
        return Ok(Reply::detail(&refused, language));
    }
    let Admission { caller, user, .. } = match authenticate(app, request).await {
        Ok(admission) => admission,
        Err(denied) => {
            let challenge = app.auth.challenge(&denied);
            return Ok(Reply::denied(&denied, challenge, language));
        }
    };
    if let Some(user) = user {
        let counted = request.meter.is_user(&user);
        let _ = request.user.set(user);
        if let Err(throttled) = counted {
            return Ok(Reply::throttled(throttled, language));
        }
    }
    let Resource { row, captured } = resource;
    if request.method == Method::OPTIONS.as_str() {
        return Ok(Reply::ok(options_metadata(row.view)));
    }
    if !row.allows(&request.method) {
        let refused = Detail::MethodNotAllowed(request.method.clone());
        return Ok(Reply::detail(&refused, language));
    }
    let call = Call {
        app,
        caller: &caller,
        request,
    };
    match (row.handler, captured) {
        (Handler::Plain(view), Captured::Nothing) => view(call).await,
        (Handler::Conversation(view), Captured::Conversation(id)) => view(call, id).await,
        (Handler::Message(view), Captured::Message(id)) => view(call, id).await,
        (Handler::User(view), Captured::User(user)) => view(call, user).await,
        // A test holds each row's handler to its path.
        _ => Ok(Reply::detail(&Detail::NotFound, language)),
    }
}

/// Finds out who is asking; a caller known by a cookie must show that no other page made the
/// browser ask.
pub async fn authenticate(app: &App, request: &Request) -> Result<Admission, Denied> {
    let asked = Credentials {
        headers: &request.headers,
        query: request.query.as_deref(),
    };
    let admission = app.auth.admit(&asked, &request.meter).await?;
    if admission.by_cookie && !csrf::is_safe(&request.method) {
        app.auth.guard(&asked, form_token(request).as_deref())?;
    }
    Ok(admission)
}

/// Django's token against forgery as a posted form has it.
fn form_token(request: &Request) -> Option<String> {
    let content_type = request.header(&CONTENT_TYPE)?;
    let is_form = ["application/x-www-form-urlencoded", "multipart/form-data"]
        .iter()
        .any(|kind| content_type.trim_start().to_lowercase().starts_with(kind));
    if request.method != Method::POST.as_str() || !is_form {
        return None;
    }
    let data = body::parse(Some(&content_type), &request.body).ok()?;
    match data.get("csrfmiddlewaretoken") {
        Some(Entry::Text(token)) => Some(token.to_owned()),
        _ => None,
    }
}

/// Does what Django's session and CSRF middleware do to an answer.
async fn with_cookies(app: &App, request: &Request, answer: Answer) -> Response {
    let Answer {
        mut response,
        answered_by,
    } = answer;
    let name = &app.config.auth.django_session.cookie;
    let sent = Cookies::parse(&request.values(&COOKIE), name);
    let known = match sent.session_key() {
        Some(key) if answered_by == AnsweredBy::View => has_session(app, key, &request.meter).await,
        _ => true,
    };
    let now = since_1970().as_secs();
    let effect = cookies::effect(&sent, answered_by, known, now, &mut || random::bytes().ok());
    let headers = response.headers_mut();
    for cookie in &effect.set_cookie {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            headers.append(SET_COOKIE, value);
        }
    }
    if effect.vary {
        vary_on_cookie(headers);
    }
    response
}

fn vary_on_cookie(headers: &mut HeaderMap) {
    let vary = match headers.get(VARY).map(HeaderValue::as_bytes) {
        Some(b"Accept" | b"Accept, Cookie") => "Accept, Cookie",
        _ => "Cookie",
    };
    headers.insert(VARY, HeaderValue::from_static(vary));
}
