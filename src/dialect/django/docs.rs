//! The API document: `OpenAPI` 3.1 of everything that is served, the WebSocket in words, and a
//! small page that shows it. The texts are `docs/`; `tests/openapi` holds them to the real answers.

use hyper::StatusCode;

use crate::{
    config::{Config, Identity},
    dialect::chatferry::api::openapi as own_api,
    events::schemas,
    http::{Response, page::page, reply::ours},
    python::json,
};

const DOCUMENT: &str = include_str!("docs/openapi.json");
const WEBSOCKET: &str = include_str!("docs/websocket.md");
const FRAMES: &str = include_str!("../chatferry/asyncapi.json");
const PAGE: &str = include_str!("docs/docs.html");

/// Returns the document with the paths of these settings in it.
#[must_use]
pub fn document(config: &Config) -> String {
    let schemes = schemes(config);
    let security = schemes
        .iter()
        .map(|(name, _)| format!("{{\"{name}\": []}}"));
    let security = format!("[{}]", security.collect::<Vec<_>>().join(", "));
    let schemes = schemes.iter().map(|(name, it)| format!("\"{name}\": {it}"));
    let schemes = format!("{{{}}}", schemes.collect::<Vec<_>>().join(", "));
    let document = own_api::add(DOCUMENT.to_owned(), config);
    // The prefixes are plain ASCII without quotes: the settings see to it.
    document
        .replace("\"{{websocket}}\"", &quoted(WEBSOCKET.trim()))
        .replace("\"{{security}}\"", &security)
        .replace("\"{{security_schemes}}\"", &schemes)
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{url_prefix}}", config.django.url_prefix.as_str())
        .replace("{{ws_prefix}}", config.django.ws_prefix.as_str())
}

/// The security schemes of `auth.identity`, with their names: where callers show who they are.
fn schemes(config: &Config) -> Vec<(&'static str, String)> {
    let auth = &config.auth;
    let key = |place: &str, name: &str, words: &str| {
        let (name, words) = (quoted(name), quoted(words));
        format!(r#"{{"type": "apiKey", "in": "{place}", "name": {name}, "description": {words}}}"#)
    };
    let in_header = |own: &str| {
        let word = auth.token_words.first().map(ToString::to_string);
        let word = word.unwrap_or_else(|| own.to_owned());
        let scheme = if word.eq_ignore_ascii_case("Bearer") {
            r#"{"type": "http", "scheme": "bearer"}"#.to_owned()
        } else {
            key("header", "Authorization", &format!("`{word} TOKEN`"))
        };
        ("header", scheme)
    };
    let in_query = |name: &Option<String>| {
        let name = name.as_ref()?;
        Some(("query", key("query", name, "The token.")))
    };
    let in_cookie = |name: &str, words: &str| ("cookie", key("cookie", name, words));
    match auth.identity {
        Identity::None => Vec::new(),
        Identity::DjangoSession => {
            let words = "Of somebody logged in to Django. What changes something needs Django's token \
                         against forgery too, in `X-CSRFToken`.";
            vec![in_cookie(&auth.django_session.cookie, words)]
        }
        Identity::DjangoToken => {
            let query = in_query(&auth.django_token.query);
            [in_header("Token")].into_iter().chain(query).collect()
        }
        Identity::Jwt => {
            let cookie = auth.jwt.cookie.as_ref();
            let cookie = cookie.map(|name| in_cookie(name, "The token."));
            let others = in_query(&auth.jwt.query).into_iter().chain(cookie);
            [in_header("Bearer")].into_iter().chain(others).collect()
        }
    }
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    let mut json = Vec::new();
    json::write_ascii_str(&mut json, text);
    String::from_utf8_lossy(&json).into_owned()
}

/// `/openapi.json`.
#[must_use]
pub fn openapi(config: &Config) -> Response {
    ours(StatusCode::OK, "application/json", document(config))
}

/// `/asyncapi.json`: the frames of the protocol `chatferry.v1`, with a schema for each.
#[must_use]
pub fn asyncapi(config: &Config) -> Response {
    let text = FRAMES
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{ws_prefix}}", config.django.ws_prefix.as_str());
    ours(StatusCode::OK, "application/json", text)
}

/// `/events.json`: a schema of the events that other services get.
#[must_use]
pub fn events(config: &Config) -> Response {
    let text = schemas::document(&config.events);
    ours(StatusCode::OK, "application/schema+json", text)
}

/// `/docs`.
#[must_use]
pub fn docs() -> Response {
    page(PAGE)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        dialect::django::routes::{self, Route},
        http::ops::Endpoint,
    };

    /// The methods of each path.
    type Paths = BTreeMap<String, BTreeSet<String>>;

    fn documented(config: &Config) -> Paths {
        let document: Value = serde_json::from_str(&document(config)).unwrap();
        let methods = |item: &Value| {
            let names = item.as_object().unwrap().keys();
            names
                .filter(|name| *name != "parameters")
                .map(|name| name.to_uppercase())
                .collect()
        };
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .map(|(path, item)| (path.clone(), methods(item)))
            .collect()
    }

    #[test]
    fn every_route_is_in_the_document_with_its_methods_and_nothing_else_is() {
        let config = Config::of(&[]);
        let mut found = BTreeSet::new();
        let all = documented(&config).into_iter();
        // Those of our own are held to their rows elsewhere.
        for (template, methods) in all.filter(|(path, _)| !path.starts_with("/api/v1/")) {
            let path = template
                .replace("{user_id}", "alice")
                .replace("{conversation_id}", "95031212-7823-4748-bb78-b212d36b6db3")
                .replace("{message_id}", "95031212-7823-4748-bb78-b212d36b6db3");
            let sockets = &config.django.ws_prefix;
            if routes::socket(&path, sockets).is_some() {
                assert_eq!(routes::socket_template(sockets), template);
                found.insert("socket");
                continue;
            }
            let (label, expected, allowed) = if let Some(endpoint) = Endpoint::of(&path, &config) {
                (endpoint.label(), endpoint.path().to_owned(), "GET")
            } else {
                let route = Route::of(&path, &config).unwrap_or_else(|| panic!("{template}"));
                let allowed = match &route {
                    Route::Api(resource) => resource.row.allow,
                    _ => "GET",
                };
                (route.label(), route.template(&config), allowed)
            };
            assert_eq!(expected, template);
            // Every path has these two, where it has them, without being asked.
            let allowed = allowed
                .split(", ")
                .filter(|m| !["HEAD", "OPTIONS"].contains(m));
            assert_eq!(methods, allowed.map(str::to_owned).collect(), "{template}");
            found.insert(label);
        }
        let expected = [
            "asyncapi",
            "conversation",
            "conversation_messages",
            "conversations",
            "docs",
            "healthz",
            "message_read",
            "metrics",
            "openapi",
            "page",
            "readyz",
            "send_message",
            "socket",
            "status",
            "user_conversations",
        ];
        assert_eq!(found, BTreeSet::from(expected));
    }

    #[test]
    fn what_identity_and_limits_may_answer_is_in_the_document() {
        let document: Value = serde_json::from_str(&document(&Config::of(&[]))).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            let operation = item.as_object().unwrap().iter();
            let operation = operation.filter(|(name, _)| *name != "parameters");
            for (method, operation) in operation {
                let is_listed = |status| !operation["responses"][status].is_null();
                let is_chat = path.starts_with("/api/chat/c")
                    || path.starts_with("/api/chat/m")
                    || path.starts_with("/api/chat/u")
                    || path.starts_with("/api/v1/") && !path.ends_with("/content")
                    || path.starts_with("/ws/");
                for status in ["401", "403"] {
                    assert_eq!(is_listed(status), is_chat, "{status}: {method} {path}");
                }
                assert_eq!(is_listed("429"), path != "/healthz", "{method} {path}");
            }
        }
    }

    #[test]
    fn the_document_says_where_callers_show_who_they_are() {
        let of = |settings: &[(&str, &str)]| -> Value {
            serde_json::from_str(&document(&Config::of(settings))).unwrap()
        };
        let schemes = |document: &Value| document["components"]["securitySchemes"].clone();
        let open = of(&[]);
        assert_eq!((schemes(&open), &open["security"]), (json!({}), &json!([])));

        let jwt = of(&[("auth.identity", "jwt"), ("auth.jwt.cookie", "chat")]);
        assert_eq!(
            jwt["security"],
            json!([{"header": []}, {"query": []}, {"cookie": []}])
        );
        let bearer = json!({"type": "http", "scheme": "bearer"});
        assert_eq!(schemes(&jwt)["header"], bearer);
        assert_eq!(schemes(&jwt)["query"]["name"], "token");
        assert_eq!(schemes(&jwt)["cookie"]["name"], "chat");
        let words = [("auth.identity", "jwt"), ("auth.token_words", "JWT")];
        let header = schemes(&of(&words))["header"].clone();
        assert_eq!(header["description"], "`JWT TOKEN`");

        let token = of(&[("auth.identity", "django_token")]);
        assert_eq!(token["security"], json!([{"header": []}]));
        assert_eq!(schemes(&token)["header"]["description"], "`Token TOKEN`");
        let session = of(&[("auth.identity", "django_session")]);
        assert_eq!(schemes(&session)["cookie"]["name"], "sessionid");
        for (path, item) in jwt["paths"].as_object().unwrap() {
            let is_chat = path.starts_with("/api/chat/") && path != "/api/chat/";
            // A link is all that its holder needs.
            let is_own = path.starts_with("/api/v1/") && !path.ends_with("/content");
            let is_chat = is_chat || is_own || path.starts_with("/ws/");
            for (method, operation) in item.as_object().unwrap() {
                let is_open = operation["security"] == json!([]);
                assert!(
                    method == "parameters" || is_open != is_chat,
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn the_paths_are_those_of_the_settings() {
        let config = Config::of(&[
            ("django.url_prefix", "/talk/"),
            ("django.ws_prefix", "/live/"),
        ]);
        let paths = documented(&config);
        assert!(paths.contains_key("/talk/conversations/"), "{paths:?}");
        assert!(paths.contains_key("/live/{conversation_id}/"), "{paths:?}");
        assert!(!document(&config).contains("{{"));
    }
}
