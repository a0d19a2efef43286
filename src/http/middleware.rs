//! The order in which a request is looked at: Daphne, then Django's middleware, then REST
//! framework, then the view. An earlier refusal wins over a later one.

use std::time::Instant;

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderValue, SET_COOKIE, VARY},
};

use super::{
    Response, api, docs,
    extract::{Request, Unreadable},
    ops::{self, Probe},
    page,
    reply::{self, Answer, Recipient, Reply},
    router::{Resource, Route},
};
use crate::{
    app::App,
    auth::{
        Admission,
        identity::{Credentials, Denied},
    },
    clock::since_1970,
    django::{
        basic_auth,
        body::{self, Entry},
        cookies::{self, AnsweredBy, Cookies},
        csrf,
        drf::{Detail, options_metadata},
        host as django_host,
        multipart::is_refused_by_twisted,
        negotiation::{Refused, negotiate},
    },
    python::urls::append_slash_location,
    random,
    telemetry::{
        request::{ACCESS, Trail, micros},
        security, trace,
    },
};

/// Answers a request once it has been read, and counts it. `probes` are for `/readyz`.
pub async fn serve(
    app: &App,
    probes: &[Probe],
    method: &Method,
    read: impl Future<Output = Result<Request, Unreadable>>,
    trail: &Trail,
) -> Response {
    let began = Instant::now();
    let mut user = None;
    let (route, mut response) = match read.await {
        Ok(request) => {
            let (route, response) = answer(app, probes, &request).await;
            user = request.user.get().cloned();
            // An answer may repeat the body.
            match request.into_room() {
                Some(room) => (route, response.map(|body| body.holding(room))),
                None => (route, response),
            }
        }
        Err(unreadable) => ("unreadable", refuse(unreadable)),
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
        client = trail.client.map(display),
        user = user.as_deref(),
        path = &*trail.path(),
        "answered"
    );
    if let Some(refused) = response.extensions_mut().get_mut::<security::Refused>() {
        refused.user = user;
    }
    response
}

/// Returns our answer to a request of the API for a comparison: it is not counted.
pub async fn respond(app: &App, request: &Request) -> Response {
    answer(app, &[], request).await.1
}

fn refuse(unreadable: Unreadable) -> Response {
    reply::bare(match unreadable {
        Unreadable::NoRoom => return reply::no_room(),
        Unreadable::Target | Unreadable::Broken => StatusCode::BAD_REQUEST,
        Unreadable::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Unreadable::TooSlow => StatusCode::REQUEST_TIMEOUT,
    })
}

/// The name of the route for the metrics, and the answer.
async fn answer(app: &App, probes: &[Probe], request: &Request) -> (&'static str, Response) {
    let content_type = request.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if is_refused_by_twisted(&request.sent_method, content_type, &request.body) {
        return ("unreadable", reply::bare(StatusCode::BAD_REQUEST));
    }
    let route = Route::of(&request.path, &app.config);
    let label = route.as_ref().map_or("unknown", Route::label);
    if let Some(route) = &route {
        trace::note(|span| span.route(&route.template(&app.config)));
    }
    let answer = match route {
        Some(ref ours) if ours.is_read_only() && !matches!(&*request.method, "GET" | "HEAD") => {
            return (label, reply::read_only());
        }
        Some(Route::Healthz) => return (label, ops::healthz()),
        Some(Route::Readyz) => return (label, ops::readyz(app, probes, true).await),
        Some(Route::Metrics) => return (label, ops::metrics(app)),
        _ if !django_host::is_valid(&request.values(&HOST)) => {
            Answer::new(AnsweredBy::Outside, reply::bad_host())
        }
        Some(Route::Index) if page::is_opened(request) => {
            return (label, page::index(&app.config));
        }
        Some(Route::Page) => return (label, page::chat_page(app)),
        Some(Route::Docs) => return (label, docs::docs()),
        Some(Route::OpenApi) => return (label, docs::openapi(&app.config)),
        Some(Route::Api(resource)) => view(app, request, resource).await,
        Some(Route::Index) | None => unknown(app, request),
    };
    (label, with_cookies(app, request, answer).await)
}

/// A path that does not exist, or only lacks its last slash. Django redirects every method, and
/// clients then lose the body of a POST: the original does too.
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
    let (view, allow, language) = (resource.view(), resource.allow(), app.language());
    let accept = request.header(&ACCEPT);
    let renderer = match negotiate(accept.as_deref(), request.query.as_deref()) {
        Ok(renderer) => renderer,
        Err(refused) => {
            let response = match refused {
                Refused::NotAcceptable => {
                    reply::unnegotiated(&Detail::NotAcceptable, allow, language)
                }
                Refused::UnknownFormat => reply::unnegotiated(&Detail::NotFound, allow, language),
                Refused::TooManyFields(_) => reply::suspicious(),
            };
            return Answer::new(AnsweredBy::Outside, response);
        }
    };
    let recipient = Recipient {
        renderer,
        view,
        allow,
        is_head: request.method == Method::HEAD.as_str(),
        meter: &request.meter,
        language,
    };
    // On the heap, so that the futures around it are small, and nested no deeper than the compiler follows.
    let response = match Box::pin(perform(app, request, resource)).await {
        Ok(reply) | Err(api::Failure::Reply(reply)) => reply.render(&recipient, &app.answers).await,
        Err(api::Failure::Suspicious) => reply::suspicious(),
    };
    Answer::new(AnsweredBy::View, response)
}

async fn perform(app: &App, request: &Request, resource: Resource) -> Result<Reply, api::Failure> {
    if let Some(refused) = basic_auth::refuse(request.header(&AUTHORIZATION).as_deref()) {
        return Ok(Reply::detail(&refused, app.language()));
    }
    let Admission { caller, user, .. } = match authenticate(app, request).await {
        Ok(admission) => admission,
        Err(denied) => {
            let challenge = app.auth.challenge(&denied);
            return Ok(Reply::denied(&denied, challenge, app.language()));
        }
    };
    if let Some(user) = user {
        let counted = request.meter.is_user(&user);
        let _ = request.user.set(user);
        if let Err(throttled) = counted {
            return Ok(Reply::throttled(throttled, app.language()));
        }
    }
    if request.method == Method::OPTIONS.as_str() {
        return Ok(Reply::ok(options_metadata(resource.view())));
    }
    if !resource
        .allow()
        .split(", ")
        .any(|method| method == request.method)
    {
        let refused = Detail::MethodNotAllowed(request.method.clone());
        return Ok(Reply::detail(&refused, app.language()));
    }
    match resource {
        Resource::Conversations => api::conversations::create(app, &caller, request).await,
        Resource::Conversation(id) => api::conversations::retrieve(app, &caller, request, id).await,
        Resource::UserConversations(user) => api::conversations::list(app, &caller, request, user),
        Resource::ConversationMessages(id) => api::messages::list(app, &caller, request, id).await,
        Resource::SendMessage(id) => api::messages::send(app, &caller, request, id).await,
        Resource::MessageRead(id) => api::receipts::mark_read(app, &caller, request, id).await,
    }
}

/// Finds out who is asking; a caller known by a cookie must show that no other page made the browser ask.
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
        Some(key) if answered_by == AnsweredBy::View => {
            app.auth.has_session(key, &request.meter).await
        }
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
