//! Pages of ours: each in one answer, built into the program, that talk to this server alone.

use hyper::{
    StatusCode,
    header::{HeaderName, HeaderValue, LOCATION},
};

use super::pages::escape;
use crate::{
    app::App,
    auth::words::Words,
    config::{Config, Identity, LoginUrl, Prefix},
    http::{Response, extract::Request, page::page, reply::ours},
};

/// Puts files together.
macro_rules! joined {
    ($($file:literal)*) => { concat!($(include_str!($file)),*) };
}

const MARKUP: &str = include_str!("../chatferry/page/page.html");
const STYLE: &str = joined!("../chatferry/page/look.css" "../chatferry/page/chat.css");
/// One module: each file sees the names of all.
const SCRIPT: &str = joined!(
    "../../../compat/client/chatferry.js"
    "../chatferry/page/words.js"
    "../chatferry/page/tools.js"
    "../chatferry/page/server.js"
    "../chatferry/page/room.js"
    "../chatferry/page/old_room.js"
    "../chatferry/page/native_room.js"
    "../chatferry/page/list.js"
    "../chatferry/page/log.js"
    "../chatferry/page/actions.js"
    "../chatferry/page/files.js"
    "../chatferry/page/search.js"
    "../chatferry/page/composer.js"
    "../chatferry/page/groups.js"
    "../chatferry/page/start.js"
);

/// Returns the chat page with the paths of this server in it.
#[must_use]
pub fn chat_page(app: &App) -> Response {
    let auth = &app.config.auth;
    let words = Words::of(auth);
    let api = app.config.api_prefix();
    let (query, claim) = match auth.identity {
        Identity::Jwt => (auth.jwt.query.as_deref(), auth.jwt.user_claim.as_str()),
        Identity::DjangoToken => (auth.django_token.query.as_deref(), ""),
        Identity::None | Identity::DjangoSession => (None, ""),
    };
    let login = match auth.identity {
        Identity::DjangoSession => auth.django_session.login_url.as_ref(),
        _ => None,
    };
    // The prefixes are plain ASCII without quotes and angle brackets: the settings see to it.
    let text = MARKUP
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT)
        .replace("{{native}}", &app.config.native.enabled.to_string())
        .replace("{{api_prefix}}", api.as_ref().map_or("", Prefix::as_str))
        .replace("{{url_prefix}}", app.config.django.url_prefix.as_str())
        .replace("{{ws_prefix}}", app.config.django.ws_prefix.as_str())
        .replace("{{identity}}", &auth.identity.to_string())
        .replace("{{token_word}}", &escape(words.header()))
        .replace(
            "{{token_protocol}}",
            &escape(words.protocol().unwrap_or_default()),
        )
        .replace("{{token_query}}", &escape(query.unwrap_or_default()))
        .replace("{{user_claim}}", &escape(claim))
        .replace("{{login_url}}", &escape(login.map_or("", LoginUrl::as_str)));
    page(&text)
}

/// Returns whether a person opens this address in a browser. All other clients get the root's 404
/// of the original.
#[must_use]
pub fn is_opened(request: &Request) -> bool {
    let is = |name: &'static str, value: &str| {
        let header = request.header(&HeaderName::from_static(name));
        header.is_some_and(|header| header == value)
    };
    matches!(&*request.method, "GET" | "HEAD")
        && (is("sec-fetch-mode", "navigate") || is("upgrade-insecure-requests", "1"))
}

/// Redirects from the root to the chat page.
#[must_use]
pub fn index(config: &Config) -> Response {
    let mut response = ours(StatusCode::FOUND, "text/html; charset=utf-8", "");
    // A prefix is plain ASCII.
    if let Ok(location) = HeaderValue::from_str(config.django.url_prefix.as_str()) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
