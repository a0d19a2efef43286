//! The whole URL map, and what each URL allows.

use uuid::Uuid;

use crate::{config::Config, django::drf::View, python::uuid::from_path};

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
    Healthz,
    Readyz,
    Metrics,
}

/// A resource of the API with what its path says.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    Conversations,
    Conversation(Uuid),
    ConversationMessages(Uuid),
    SendMessage(Uuid),
    UserConversations(String),
    MessageRead(Uuid),
}

impl Route {
    /// The route of a percent-decoded path; `None` for a path that does not exist.
    #[must_use]
    pub fn of(path: &str, config: &Config) -> Option<Route> {
        match path {
            "/healthz" => return Some(Route::Healthz),
            "/readyz" => return Some(Route::Readyz),
            "/metrics" if config.shows_metrics() => return Some(Route::Metrics),
            "/docs" if config.shows_docs() => return Some(Route::Docs),
            "/openapi.json" if config.shows_docs() => return Some(Route::OpenApi),
            "/" if has_index(config) => return Some(Route::Index),
            _ => {}
        }
        let rest = path.strip_prefix(config.django.url_prefix.as_str())?;
        if rest.is_empty() {
            return Some(Route::Page);
        }
        let segments: Vec<&str> = rest.split('/').collect();
        let resource = match segments[..] {
            ["conversations", ""] => Resource::Conversations,
            ["conversations", id, ""] => Resource::Conversation(from_path(id)?),
            ["conversations", id, "messages", ""] => Resource::ConversationMessages(from_path(id)?),
            ["conversations", id, "messages", "send", ""] => Resource::SendMessage(from_path(id)?),
            ["users", user, "conversations", ""] if !user.is_empty() => {
                Resource::UserConversations(user.to_owned())
            }
            ["messages", id, "read", ""] => Resource::MessageRead(from_path(id)?),
            _ => return None,
        };
        Some(Route::Api(resource))
    }

    /// Returns whether it is of our own making, and only to be read.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        !matches!(self, Route::Api(_) | Route::Index)
    }

    /// The path with names for what differs from one request to another, as the API document has
    /// it.
    #[must_use]
    pub fn template(&self, config: &Config) -> String {
        let prefix = &config.django.url_prefix;
        match self {
            Route::Api(resource) => format!("{prefix}{}", resource.template()),
            Route::Index => "/".to_owned(),
            Route::Page => prefix.to_string(),
            Route::Docs => "/docs".to_owned(),
            Route::OpenApi => "/openapi.json".to_owned(),
            Route::Healthz => "/healthz".to_owned(),
            Route::Readyz => "/readyz".to_owned(),
            Route::Metrics => "/metrics".to_owned(),
        }
    }

    /// The name of the route in the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Route::Api(resource) => resource.label(),
            Route::Index => "index",
            Route::Page => "page",
            Route::Docs => "docs",
            Route::OpenApi => "openapi",
            Route::Healthz => "healthz",
            Route::Readyz => "readyz",
            Route::Metrics => "metrics",
        }
    }
}

/// Returns `true` where the root is neither Django's nor the chat page itself.
fn has_index(config: &Config) -> bool {
    config.gateway.upstream.is_none() && config.django.url_prefix.as_str() != "/"
}

impl Resource {
    #[must_use]
    pub fn view(&self) -> View {
        match self {
            Resource::Conversations => View::CreateConversation,
            Resource::Conversation(_) => View::ConversationDetail,
            Resource::ConversationMessages(_) => View::ConversationMessages,
            Resource::SendMessage(_) => View::SendMessage,
            Resource::UserConversations(_) => View::UserConversations,
            Resource::MessageRead(_) => View::MarkMessageAsRead,
        }
    }

    /// The value of the `Allow` header. Django's function views list theirs in an order that
    /// changes with every start; any order is faithful.
    #[must_use]
    pub fn allow(&self) -> &'static str {
        match self {
            Resource::Conversations | Resource::SendMessage(_) => "POST, OPTIONS",
            Resource::Conversation(_) => "GET, HEAD, OPTIONS",
            Resource::ConversationMessages(_) | Resource::UserConversations(_) => "GET, OPTIONS",
            Resource::MessageRead(_) => "PUT, OPTIONS",
        }
    }

    /// The part of [`Route::template`] after the prefix.
    fn template(&self) -> &'static str {
        match self {
            Resource::Conversations => "conversations/",
            Resource::Conversation(_) => "conversations/{conversation_id}/",
            Resource::ConversationMessages(_) => "conversations/{conversation_id}/messages/",
            Resource::SendMessage(_) => "conversations/{conversation_id}/messages/send/",
            Resource::UserConversations(_) => "users/{user_id}/conversations/",
            Resource::MessageRead(_) => "messages/{message_id}/read/",
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Resource::Conversations => "conversations",
            Resource::Conversation(_) => "conversation",
            Resource::ConversationMessages(_) => "conversation_messages",
            Resource::SendMessage(_) => "send_message",
            Resource::UserConversations(_) => "user_conversations",
            Resource::MessageRead(_) => "message_read",
        }
    }
}

/// The conversation of a WebSocket's percent-decoded path: `<uuid>/` after the prefix.
#[must_use]
pub fn socket(path: &str, config: &Config) -> Option<Uuid> {
    from_path(
        path.strip_prefix(config.django.ws_prefix.as_str())?
            .strip_suffix('/')?,
    )
}

/// The path of the sockets as [`Route::template`] has those of requests.
#[must_use]
pub fn socket_template(config: &Config) -> String {
    format!("{}{{conversation_id}}/", config.django.ws_prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bind;

    const ID: &str = "95031212-7823-4748-bb78-b212d36b6db3";

    fn route(path: &str) -> Option<Route> {
        Route::of(&path.replace("ID", ID), &Config::of(&[]))
    }

    #[test]
    fn every_path_of_the_original_leads_to_its_view() {
        let id: Uuid = ID.parse().unwrap();
        for (path, resource) in [
            ("/api/chat/conversations/", Resource::Conversations),
            ("/api/chat/conversations/ID/", Resource::Conversation(id)),
            (
                "/api/chat/conversations/ID/messages/",
                Resource::ConversationMessages(id),
            ),
            (
                "/api/chat/conversations/ID/messages/send/",
                Resource::SendMessage(id),
            ),
            (
                "/api/chat/users/a b/conversations/",
                Resource::UserConversations("a b".into()),
            ),
            ("/api/chat/messages/ID/read/", Resource::MessageRead(id)),
        ] {
            assert_eq!(route(path), Some(Route::Api(resource)), "{path}");
        }
    }

    #[test]
    fn metrics_with_an_address_of_their_own_are_not_here() {
        let mut config = Config::of(&[]);
        assert_eq!(Route::of("/metrics", &config), Some(Route::Metrics));
        config.metrics.bind = Some(Bind::any(9000));
        assert_eq!(Route::of("/metrics", &config), None);
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
    fn with_an_identity_metrics_and_documents_are_there_only_if_that_is_set() {
        let ours = ["/metrics", "/docs", "/openapi.json"];
        let shown = |flags: &[(&str, &str)]| {
            let config = Config::of(flags);
            ours.map(|path| Route::of(path, &config).is_some())
        };
        let identity = ("auth.identity", "jwt");
        let (metrics, docs) = (("metrics.public", "yes"), ("server.docs", "yes"));
        assert_eq!(shown(&[]), [true; 3]);
        assert_eq!(shown(&[identity]), [false; 3]);
        assert_eq!(shown(&[identity, metrics]), [true, false, false]);
        assert_eq!(shown(&[identity, docs]), [false, true, true]);
        let hidden = [("metrics.public", "no"), ("server.docs", "no")];
        assert_eq!(shown(&hidden), [false; 3]);
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
        assert!(socket(&format!("/ws/chat/{ID}/"), &Config::of(&[])).is_some());
        for path in [
            format!("/ws/chat/{ID}"),
            format!("/ws/chat/{ID}/x/"),
            "/ws/chat//".into(),
        ] {
            assert_eq!(socket(&path, &Config::of(&[])), None, "{path}");
        }
    }
}
