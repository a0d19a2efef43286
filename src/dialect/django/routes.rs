//! The URLs of the chat. The API is a table, one row for each of Django's `urls.py`; beside it are
//! the page and the documents of our own.

use std::{fmt, future::ready};

use futures_util::future::BoxFuture;

use super::{
    body::Data,
    drf::{FieldErrors, Language, View},
    reply::Reply,
    views::{ViewFailure, conversations, messages, receipts},
};
use crate::{
    app::App,
    chat::policy::Caller,
    config::{Config, Prefix},
    http::extract::Request,
    id::{ConversationId, MessageId},
    limits::LimitedAction,
    python::uuid::from_path,
    store::Lookup,
};

/// One URL of the API.
pub struct Row {
    /// Path after the prefix, as the API document has it; a name in braces, of which there is one at
    /// most, is captured.
    pub path: &'static str,
    /// The name of the route in the metrics.
    pub label: &'static str,
    /// The value of the `Allow` header. Django's function views list theirs in an order that
    /// changes with every start; any order is faithful.
    pub allow: &'static str,
    pub view: View,
    /// Kind of a request for the limits, beside that it is one.
    pub action: Option<LimitedAction>,
    /// Reads from the body for whom a request speaks; `None` for a view that reads no body.
    pub spoken: Option<ReadSpoken>,
    pub handler: Handler,
}

/// Reads for whom a body speaks; the id is the one that the path has captured.
pub type ReadSpoken = fn(&Data, Language, Option<MessageId>) -> Result<Spoken, FieldErrors>;

/// The users that a request names in its body.
pub struct Spoken {
    /// The caller must be one of them.
    pub users: Vec<String>,
    /// Rows that Django looks up by user ids for it.
    pub lookup: Option<Lookup>,
}

/// A function that answers requests, by what its path captures.
#[derive(Clone, Copy)]
pub enum Handler {
    Plain(for<'a> fn(Call<'a>) -> Answering<'a>),
    Conversation(for<'a> fn(Call<'a>, ConversationId) -> Answering<'a>),
    Message(for<'a> fn(Call<'a>, MessageId) -> Answering<'a>),
    User(for<'a> fn(Call<'a>, String) -> Answering<'a>),
}

/// The answer of a view, still to come.
pub type Answering<'a> = BoxFuture<'a, Result<Reply, ViewFailure>>;

/// One request to a view.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub app: &'a App,
    pub caller: &'a Caller,
    pub request: &'a Request,
}

/// The API, in the order of Django's `urls.py`.
pub const ROWS: [Row; 6] = [
    Row {
        path: "conversations/",
        label: "conversations",
        allow: "POST, OPTIONS",
        view: View {
            name: "Create Conversation",
            description: "새로운 대화방 생성 (중복 방지 로직 포함)",
        },
        action: Some(LimitedAction::Conversation),
        spoken: Some(conversations::spoken),
        handler: Handler::Plain(|call| Box::pin(conversations::create(call))),
    },
    Row {
        path: "conversations/{conversation_id}/",
        label: "conversation",
        allow: "GET, HEAD, OPTIONS",
        view: View {
            name: "Conversation Detail",
            description: "특정 대화방 조회 - MSA 외부 제공 API",
        },
        action: None,
        spoken: None,
        handler: Handler::Conversation(|call, id| Box::pin(conversations::retrieve(call, id))),
    },
    Row {
        path: "users/{user_id}/conversations/",
        label: "user_conversations",
        allow: "GET, OPTIONS",
        view: View {
            name: "User Conversations",
            description: "특정 유저의 모든 대화방 조회",
        },
        action: None,
        spoken: None,
        handler: Handler::User(|call, user| Box::pin(ready(conversations::list(call, user)))),
    },
    Row {
        path: "conversations/{conversation_id}/messages/",
        label: "conversation_messages",
        allow: "GET, OPTIONS",
        view: View {
            name: "Conversation Messages",
            description: "대화방의 메시지 목록 조회 (삭제되지 않은 메시지만)",
        },
        action: None,
        spoken: None,
        handler: Handler::Conversation(|call, id| Box::pin(messages::list(call, id))),
    },
    Row {
        path: "conversations/{conversation_id}/messages/send/",
        label: "send_message",
        allow: "POST, OPTIONS",
        view: View {
            name: "Send Message",
            description: "메시지 전송 (이벤트 발행 포함)",
        },
        action: Some(LimitedAction::Message),
        spoken: Some(messages::spoken),
        handler: Handler::Conversation(|call, id| Box::pin(messages::send(call, id))),
    },
    Row {
        path: "messages/{message_id}/read/",
        label: "message_read",
        allow: "PUT, OPTIONS",
        view: View {
            name: "Mark Message As Read",
            description: "메시지를 읽음으로 표시 (읽음 확인 시스템)",
        },
        action: Some(LimitedAction::Message),
        spoken: Some(receipts::spoken),
        handler: Handler::Message(|call, id| Box::pin(receipts::mark_read(call, id))),
    },
];

impl Row {
    /// Returns what the path after the prefix has where this row captures; `None` if it is not of
    /// this row.
    fn capture(&self, path: &str) -> Option<Captured> {
        let Some((before, captures)) = self.path.split_once('{') else {
            return (self.path == path).then_some(Captured::Nothing);
        };
        let (name, after) = captures.split_once('}')?;
        let given = path.strip_prefix(before)?.strip_suffix(after)?;
        match name {
            _ if given.is_empty() || given.contains('/') => None,
            "conversation_id" => from_path(given).map(|id| Captured::Conversation(id.into())),
            "message_id" => from_path(given).map(|id| Captured::Message(id.into())),
            _ => Some(Captured::User(given.to_owned())),
        }
    }

    /// Returns whether requests may have this method, which is in upper case.
    #[must_use]
    pub fn allows(&self, method: &str) -> bool {
        self.allow.split(", ").any(|allowed| allowed == method)
    }
}

/// Part of a path that differs from one request to another.
#[derive(Clone, Debug, PartialEq)]
pub enum Captured {
    Nothing,
    Conversation(ConversationId),
    Message(MessageId),
    User(String),
}

/// A row with what a path captures.
#[derive(Clone)]
pub struct Resource {
    pub row: &'static Row,
    pub captured: Captured,
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        (self.row.path, &self.captured) == (other.row.path, &other.captured)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.row.label, self.captured)
    }
}

/// Target of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    Api(Resource),
    /// The root, which leads browsers to the chat page. Behind a gateway it is Django's.
    Index,
    /// The chat page, at the prefix of the API itself.
    Page,
    /// The API document for people.
    Docs,
    OpenApi,
    /// Of the protocol of our own.
    AsyncApi,
    /// Of the events that other services get.
    Events,
}

impl Route {
    /// Returns the route of a percent-decoded path; `None` for a path that does not exist.
    #[must_use]
    pub fn of(path: &str, config: &Config) -> Option<Route> {
        match path {
            "/docs" if config.shows_docs() => return Some(Route::Docs),
            "/openapi.json" if config.shows_docs() => return Some(Route::OpenApi),
            "/asyncapi.json" if config.shows_docs() && config.native.enabled => {
                return Some(Route::AsyncApi);
            }
            "/events.json" if config.shows_docs() && !config.events.sinks.is_empty() => {
                return Some(Route::Events);
            }
            "/" if has_index(config) => return Some(Route::Index),
            _ => {}
        }
        let rest = path.strip_prefix(config.django.url_prefix.as_str())?;
        if rest.is_empty() {
            return Some(Route::Page);
        }
        ROWS.iter().find_map(|row| {
            let captured = row.capture(rest)?;
            Some(Route::Api(Resource { row, captured }))
        })
    }

    /// Returns whether it is of our own making, and only to be read.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        !matches!(self, Route::Api(_) | Route::Index)
    }

    /// Returns the path with names for what differs from one request to another, as the API
    /// document has it.
    #[must_use]
    pub fn template(&self, config: &Config) -> String {
        let prefix = &config.django.url_prefix;
        match self {
            Route::Api(resource) => format!("{prefix}{}", resource.row.path),
            Route::Index => "/".to_owned(),
            Route::Page => prefix.to_string(),
            Route::Docs => "/docs".to_owned(),
            Route::OpenApi => "/openapi.json".to_owned(),
            Route::AsyncApi => "/asyncapi.json".to_owned(),
            Route::Events => "/events.json".to_owned(),
        }
    }

    /// Returns the name of the route in the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Route::Api(resource) => resource.row.label,
            Route::Index => "index",
            Route::Page => "page",
            Route::Docs => "docs",
            Route::OpenApi => "openapi",
            Route::AsyncApi => "asyncapi",
            Route::Events => "events",
        }
    }
}

/// Returns `true` where the root is neither Django's nor the chat page itself.
fn has_index(config: &Config) -> bool {
    config.gateway.upstream.is_none() && config.django.url_prefix.as_str() != "/"
}

/// Returns the conversation of a WebSocket's percent-decoded path: `<uuid>/` after the prefix.
#[must_use]
pub fn socket(path: &str, prefix: &Prefix) -> Option<ConversationId> {
    let id = path.strip_prefix(prefix.as_str())?.strip_suffix('/')?;
    from_path(id).map(ConversationId::from)
}

/// The path of the sockets as [`Route::template`] has those of requests.
#[must_use]
pub fn socket_template(prefix: &Prefix) -> String {
    format!("{prefix}{{conversation_id}}/")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ID: &str = "95031212-7823-4748-bb78-b212d36b6db3";

    fn route(path: &str) -> Option<Route> {
        Route::of(&path.replace("ID", ID), &Config::of(&[]))
    }

    #[test]
    fn every_path_of_the_original_leads_to_its_view() {
        let id = ID.parse::<Uuid>().unwrap();
        for (path, label, captured) in [
            ("conversations/", "conversations", Captured::Nothing),
            (
                "conversations/ID/",
                "conversation",
                Captured::Conversation(id.into()),
            ),
            (
                "conversations/ID/messages/",
                "conversation_messages",
                Captured::Conversation(id.into()),
            ),
            (
                "conversations/ID/messages/send/",
                "send_message",
                Captured::Conversation(id.into()),
            ),
            (
                "users/a b/conversations/",
                "user_conversations",
                Captured::User("a b".into()),
            ),
            (
                "messages/ID/read/",
                "message_read",
                Captured::Message(id.into()),
            ),
        ] {
            let Some(Route::Api(found)) = route(&format!("/api/chat/{path}")) else {
                panic!("no view: {path}")
            };
            assert_eq!((found.row.label, found.captured), (label, captured));
        }
    }

    #[test]
    fn a_handler_takes_what_its_path_captures() {
        for row in &ROWS {
            let wanted = match row.handler {
                Handler::Plain(_) => None,
                Handler::Conversation(_) => Some("{conversation_id}"),
                Handler::Message(_) => Some("{message_id}"),
                Handler::User(_) => Some("{user_id}"),
            };
            let captures = row.path.split('/').filter(|it| it.starts_with('{'));
            assert_eq!(captures.collect::<Vec<_>>(), Vec::from_iter(wanted));
        }
    }

    #[test]
    fn the_root_is_django_s_behind_a_gateway_and_leads_to_the_page_without_one() {
        let mut config = Config::of(&[]);
        assert_eq!(Route::of("/", &config), Some(Route::Index));
        config.gateway = Config::of(&[("gateway.upstream", "http://127.0.0.1:1")]).gateway;
        assert_eq!(Route::of("/", &config), None);
        let at_root = Config::of(&[("django.url_prefix", "/")]);
        assert_eq!(Route::of("/", &at_root), Some(Route::Page));
    }

    #[test]
    fn with_an_identity_documents_are_there_only_if_that_is_set() {
        let shown = |flags: &[(&str, &str)]| {
            let config = Config::of(flags);
            let paths = ["/docs", "/openapi.json", "/asyncapi.json"];
            paths.map(|path| Route::of(path, &config).is_some())
        };
        let identity = ("auth.identity", "jwt");
        assert_eq!(shown(&[]), [true; 3]);
        assert_eq!(shown(&[identity]), [false; 3]);
        assert_eq!(shown(&[identity, ("server.docs", "yes")]), [true; 3]);
        assert_eq!(shown(&[("server.docs", "no")]), [false; 3]);
        assert_eq!(shown(&[("native.enabled", "false")]), [true, true, false]);
        let events = |flags: &[(&str, &str)]| Route::of("/events.json", &Config::of(flags));
        let sink = ("events.sinks", "log");
        assert_eq!(events(&[]), None);
        assert_eq!(events(&[sink]), Some(Route::Events));
        assert_eq!(events(&[sink, identity]), None);
    }

    #[test]
    fn a_path_that_differs_by_one_character_does_not_exist() {
        for path in [
            "/api/",
            "/api/chat/conversations",
            "/API/chat/conversations/",
            "/api/chat//conversations/",
            "/api/chat/conversations/not-a-uuid/",
            "/api/chat/conversations/ID/extra/",
            "/api/chat/users//conversations/",
            "/api/chat/users/a/b/conversations/",
            "/api/chat/messages/",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }

    #[test]
    fn a_socket_is_found_by_its_exact_path() {
        let prefix = Config::of(&[]).django.ws_prefix;
        assert!(socket(&format!("/ws/chat/{ID}/"), &prefix).is_some());
        for path in [
            format!("/ws/chat/{ID}"),
            format!("/ws/chat/{ID}/x/"),
            "/ws/chat//".into(),
        ] {
            assert_eq!(socket(&path, &prefix), None, "{path}");
        }
    }
}
