//! `[native]`: the protocol of our own, and its REST API.

use std::fmt;

use serde::Deserialize;

use super::{Config, Prefix, declare::settings};

settings! {
    /// The protocol of our own, for clients that ask for the subprotocol `chatferry.v1` where
    /// Django's sockets are, and the REST API beside it. Identity, policy and limits are those of
    /// all requests and sockets.
    pub struct Native in "native" {
        /// Serve those clients, and the REST API. Without it their handshakes are answered as any
        /// other, and no subprotocol is agreed on.
        enabled: bool = true,
        /// Prefix of our own REST API, a path that starts and ends with `/`; `off` for none, `auto`
        /// for `/api/v1/`, unless `gateway.upstream` or `host.http_routes` is set: Django may have
        /// paths there.
        api_prefix: ApiPrefix = "auto",
        /// Conversations that one such socket may be in at once.
        subscriptions: usize = 64 in 1..=10_000,
        /// Most members of a group, a conversation of several people in tables of our own, which
        /// `chatferry migrate` makes. Less than 2: there are no groups.
        members_max: usize = 16 in 0..=1000,
    }
}

/// Place of our own REST API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ApiPrefix {
    /// [`DEFAULT`] where no path of somebody else's can be there.
    Auto,
    Off,
    At(Prefix),
}

const DEFAULT: &str = "/api/v1/";

impl TryFrom<String> for ApiPrefix {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "auto" => Ok(ApiPrefix::Auto),
            "off" => Ok(ApiPrefix::Off),
            _ => Prefix::try_from(text)
                .map(ApiPrefix::At)
                .map_err(|_| "`auto`, `off`, or a path that starts and ends with `/`"),
        }
    }
}

impl fmt::Display for ApiPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiPrefix::Auto => f.write_str("auto"),
            ApiPrefix::Off => f.write_str("off"),
            ApiPrefix::At(prefix) => prefix.fmt(f),
        }
    }
}

impl Native {
    /// Returns whether these settings allow groups.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        self.enabled && self.members_max >= 2
    }
}

impl Config {
    /// Returns the prefix of our own REST API; `None` if it is not served.
    #[must_use]
    pub fn api_prefix(&self) -> Option<Prefix> {
        if !self.native.enabled {
            return None;
        }
        match &self.native.api_prefix {
            ApiPrefix::Off => None,
            ApiPrefix::At(prefix) => Some(prefix.clone()),
            ApiPrefix::Auto if self.serves_others() => None,
            ApiPrefix::Auto => {
                let prefix = Prefix::try_from(DEFAULT.to_owned()).ok();
                prefix.filter(|prefix| !self.takes_from_others(prefix))
            }
        }
    }

    /// Returns whether requests may be those of a Django that is passed on to, or hosted.
    fn serves_others(&self) -> bool {
        self.gateway.upstream.is_some() || !self.host.http_routes.is_empty()
    }

    /// Returns whether our own REST API would take paths of the chat of Django, or of operators.
    pub(super) fn has_taken_prefix(&self) -> bool {
        matches!(&self.native.api_prefix, ApiPrefix::At(prefix) if self.takes_from_others(prefix))
    }

    fn takes_from_others(&self, api: &Prefix) -> bool {
        let others = [&self.django.url_prefix, &self.django.ws_prefix];
        let is_below = |other: &&Prefix| other.as_str().starts_with(api.as_str());
        api.as_str() == "/" || others.iter().any(is_below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(settings: &[(&str, &str)]) -> Option<String> {
        let prefix = Config::of(settings).api_prefix();
        prefix.map(|prefix| prefix.to_string())
    }

    #[test]
    fn the_api_is_where_no_path_of_django_is_taken_unasked() {
        let upstream = ("gateway.upstream", "http://127.0.0.1:1");
        assert_eq!(prefix(&[]).as_deref(), Some("/api/v1/"));
        assert_eq!(prefix(&[upstream]), None);
        assert_eq!(prefix(&[("host.http_routes", "/")]), None);
        assert_eq!(prefix(&[("django.url_prefix", "/api/v1/")]), None);
        assert_eq!(prefix(&[("django.ws_prefix", "/api/v1/ws/")]), None);
        assert_eq!(prefix(&[("native.enabled", "false")]), None);
        assert_eq!(prefix(&[("native.api_prefix", "off")]), None);
        let own = ("native.api_prefix", "/own/");
        assert_eq!(prefix(&[own, upstream]).as_deref(), Some("/own/"));
    }

    #[test]
    fn a_prefix_that_takes_the_paths_of_others_is_refused() {
        for (api, chat, is_taken) in [
            ("/api/", "/api/chat/", true),
            ("/api/chat/", "/api/chat/", true),
            ("/", "/api/chat/", true),
            ("/api/chat/own/", "/api/chat/", false),
            ("/own/", "/", false),
        ] {
            let settings = [("native.api_prefix", api), ("django.url_prefix", chat)];
            let flags = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let loaded = Config::load(None, std::iter::empty(), &flags);
            assert_eq!(loaded.is_err(), is_taken, "{api} {chat}");
        }
    }
}
