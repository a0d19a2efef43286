//! Identity by a token of REST framework's `authtoken`: stands in for its `TokenAuthentication`.
//!
//! A token is the key of a row that names a user, who must be active. It has no end of its own: it
//! is good until somebody deletes the row. The key is compared byte by byte, as a database's
//! collation may take two for one.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    auth::{
        identity::{Credentials, Denied, Identity},
        proof::Proof,
        remembered::{Found, Remembered},
        words::Words,
    },
    config::{self, Config},
    limits::Meter,
    store::{Store, StoreError, TokenRow, UserRow},
};

/// Looks tokens up, and remembers them for a moment.
pub struct Tokens {
    settings: config::DjangoToken,
    users: config::DjangoSession,
    seen: Remembered,
}

impl Tokens {
    #[must_use]
    pub fn open(config: &Config) -> Self {
        Tokens {
            settings: config.auth.django_token.clone(),
            users: config.auth.django_session.clone(),
            seen: Remembered::new(&config.auth.django_session),
        }
    }

    async fn look_up(&self, store: &dyn Store, token: &str) -> Result<Found, StoreError> {
        let keys = [token.to_owned()];
        let rows = self.rows(store, &keys).await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(Found::Nothing);
        };
        let user = self.users_of(store, &[row]).await?.into_values().next();
        Ok(user.map_or(Found::Anonymous, |user| {
            Found::Known(Identity {
                user,
                until: u64::MAX,
                token_id: None,
                by_cookie: false,
            })
        }))
    }

    async fn rows(&self, store: &dyn Store, keys: &[String]) -> Result<Vec<TokenRow>, StoreError> {
        let mut rows = store.tokens(&self.settings.table, keys).await?;
        rows.retain(|row| keys.contains(&row.key));
        Ok(rows)
    }

    /// The users of these tokens who are active, by token.
    async fn users_of(
        &self,
        store: &dyn Store,
        rows: &[TokenRow],
    ) -> Result<HashMap<String, Arc<str>>, StoreError> {
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: HashSet<&String> = rows.iter().map(|row| &row.user).collect();
        let ids: Vec<String> = ids.into_iter().cloned().collect();
        let users = store.users(&self.users, &ids).await?;
        let known = rows.iter().filter_map(|row| {
            let user = users.iter().find(|user| user.key == row.user)?;
            let is_active = user.is_active;
            is_active.then(|| (row.key.clone(), self.chat_id(user)))
        });
        Ok(known.collect())
    }

    /// Returns the user's id in the chat: a primary key as Python writes it, a UUID with dashes.
    fn chat_id(&self, user: &UserRow) -> Arc<str> {
        if self.users.user_column != self.users.id_column {
            return user.chat_id.as_str().into();
        }
        match Uuid::try_parse(&user.key) {
            Ok(id) => id.to_string().into(),
            Err(_) => user.key.as_str().into(),
        }
    }
}

#[async_trait]
impl Proof for Tokens {
    fn label(&self) -> &'static str {
        "django_token"
    }

    fn shown(&self, asked: &Credentials<'_>, words: &Words) -> Option<String> {
        let protocol = || words.in_protocol(asked).map(|offered| offered.token);
        let query = || asked.parameter(self.settings.query.as_deref()?);
        words.in_header(asked).or_else(protocol).or_else(query)
    }

    fn is_in_protocol(&self) -> bool {
        true
    }

    // The result is at most `auth.django_session.cache_s` old.
    async fn find(&self, store: &dyn Store, shown: &str, meter: &Meter) -> Result<Found, Denied> {
        let look_up = self.look_up(store, shown);
        self.seen.find(shown, meter, look_up).await
    }

    // Two queries for any number of tokens.
    async fn users(
        &self,
        store: &dyn Store,
        tokens: &[&str],
    ) -> Result<HashMap<String, Arc<str>>, StoreError> {
        let keys: Vec<String> = tokens.iter().map(|&token| token.to_owned()).collect();
        let rows = self.rows(store, &keys).await?;
        self.users_of(store, &rows).await
    }

    fn denied(&self, found: Option<&Found>) -> Denied {
        match found {
            None => Denied::NoToken,
            Some(Found::Anonymous) => Denied::BadToken("its user is not active".into()),
            Some(_) => Denied::BadToken("there is none of this key".into()),
        }
    }

    fn forget(&self, user: &str) {
        self.seen.forget(user);
    }

    async fn check(&self, store: &dyn Store) -> Result<(), StoreError> {
        // A key and an id that no row has.
        store.tokens(&self.settings.table, &[String::new()]).await?;
        store.user(&self.users, "0").await?;
        Ok(())
    }
}
