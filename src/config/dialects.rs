//! `dialects`: the chats that are served, and where those of other systems are.

use std::collections::HashSet;

use super::{
    Bind, Config, Prefix,
    declare::{choice, settings},
};

settings! {
    /// The chats that are served.
    pub struct Dialects in "" {
        /// The chats: `django`, which is always there, and beside it `messenger`, `matching` and
        /// `naebak`. Each of these needs a `bind` or a `prefix` in its own section, and has its own
        /// users, tables and tokens.
        dialects: Vec<DialectName> = ["django"],
    }
}

choice! {
    /// A kind of chat.
    pub enum DialectName {
        Django = "django",
        Messenger = "messenger",
        Matching = "matching",
        Naebak = "naebak",
    }
}

impl Config {
    /// Returns the address and the prefix of a chat; `None` for the one of Django, which is where the
    /// server is.
    #[must_use]
    pub fn place_of(&self, name: DialectName) -> Option<(Option<Bind>, Option<Prefix>)> {
        let (bind, prefix) = match name {
            DialectName::Django => return None,
            DialectName::Messenger => (&self.messenger.bind, &self.messenger.prefix),
            DialectName::Matching => (&self.matching.bind, &self.matching.prefix),
            DialectName::Naebak => (&self.naebak.bind, &self.naebak.prefix),
        };
        Some((bind.clone(), prefix.clone()))
    }

    /// Returns what is wrong with the places of the chats.
    pub(super) fn mount_conflicts(&self) -> [(bool, &'static str); 5] {
        let places = self.dialects.iter().filter_map(|name| self.place_of(*name));
        let (binds, prefixes): (Vec<_>, Vec<_>) = places.unzip();
        let is_placed =
            |(bind, prefix): (&Option<_>, &Option<_>)| bind.is_some() || prefix.is_some();
        let names: HashSet<_> = self.dialects.iter().map(|name| name.as_str()).collect();
        [
            (
                !names.contains(DialectName::Django.as_str()),
                "dialects: `django` is always among them",
            ),
            (
                names.len() < self.dialects.len(),
                "dialects: each can be named once",
            ),
            (
                !binds.iter().zip(&prefixes).all(is_placed),
                "dialects: each chat besides `django` needs a `bind` or a `prefix` in its section",
            ),
            (
                self.share_an_address(&binds),
                "the `bind` of a chat: another chat, server.bind or metrics.bind has this address",
            ),
            (
                self.overlap(&prefixes),
                "the `prefix` of a chat must not be above or below that of another, \
                 django.url_prefix or django.ws_prefix",
            ),
        ]
    }

    /// Returns whether one of these addresses is another's.
    fn share_an_address(&self, binds: &[Option<Bind>]) -> bool {
        let mut taken = vec![&self.server.bind];
        taken.extend(&self.metrics.bind);
        binds.iter().flatten().any(|bind| {
            let is_taken = !bind.is_any_port() && taken.contains(&bind);
            taken.push(bind);
            is_taken
        })
    }

    /// Returns whether a path can be below two of these prefixes, or below one and be Django's.
    fn overlap(&self, prefixes: &[Option<Prefix>]) -> bool {
        let mut taken = vec![&self.django.url_prefix, &self.django.ws_prefix];
        prefixes.iter().flatten().any(|prefix| {
            let meets = |other: &&Prefix| {
                let (one, other) = (prefix.as_str(), other.as_str());
                one.starts_with(other) || other.starts_with(one)
            };
            let is_taken = taken.iter().any(meets);
            taken.push(prefix);
            is_taken
        })
    }
}
