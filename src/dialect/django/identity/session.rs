//! Identity by the session of somebody who is logged in to Django: stands in for
//! `SessionMiddleware` and `get_user` of `django/contrib/auth`.
//!
//! The session names a user and remembers a hash of the password it was begun with; the user's row
//! must still have that password and be active. Nothing is written: what Django would do to a
//! session on the way (flush it, give it a new key) is left to Django.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use hyper::header::HeaderName;

use crate::{
    auth::{
        SetupError,
        identity::{Credentials, Denied, Identity},
        proof::Proof,
        remembered::{Found, Remembered},
        words::Words,
    },
    clock::since_1970,
    config::{self, Config, Secret, SessionEngine},
    dialect::django::{
        csrf,
        signing::{self, COOKIE_SESSION, DATABASE_SESSION},
    },
    limits::Meter,
    python::pystr::str_of,
    store::{Store, StoreError, UserRow, bare},
    value::{Text, Value},
};

const CSRF_COOKIE: &str = "csrftoken";
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrftoken");

/// Reads sessions, and remembers them for a moment.
pub struct Sessions {
    settings: config::DjangoSession,
    /// `SECRET_KEY` first, then its fallbacks.
    keys: Vec<Secret>,
    seen: Remembered,
}

/// The user that a session names as logged in.
struct Login {
    /// Django's primary key.
    id: String,
    /// Of the password it was begun with.
    hash: String,
}

impl Login {
    fn of(session: &Value) -> Option<Self> {
        let text = |key| match session.get(key).map(str_of) {
            Some(Text::Utf8(text)) if !text.is_empty() => Some(text.into_owned()),
            _ => None,
        };
        text("_auth_user_backend")?;
        Some(Login {
            id: text("_auth_user_id")?,
            hash: text("_auth_user_hash")?,
        })
    }

    /// Compares the keys byte by byte, as the database may take two for one. The database has a
    /// UUID without the dashes.
    fn is_of(&self, row: &UserRow) -> bool {
        row.key == self.id || row.key == bare(&self.id)
    }
}

impl Sessions {
    /// # Errors
    /// When there is no key to check sessions with.
    pub fn open(config: &Config) -> Result<Self, SetupError> {
        let django = &config.django;
        let key = django.secret_key.clone().ok_or(SetupError::NoSecretKey)?;
        let mut keys = vec![key];
        keys.extend(django.secret_key_fallbacks.iter().cloned());
        Ok(Sessions {
            settings: config.auth.django_session.clone(),
            keys,
            seen: Remembered::new(&config.auth.django_session),
        })
    }

    fn login_in(&self, data: &str) -> Option<Login> {
        let signed = signing::loads(data, DATABASE_SESSION, self.keys()).ok()?;
        Login::of(&signed.value)
    }

    async fn look_up(&self, store: &dyn Store, cookie: &str) -> Result<Found, StoreError> {
        let opened = match self.settings.engine {
            SessionEngine::Database => self.in_database(store, cookie).await?,
            SessionEngine::SignedCookies => self.in_cookie(cookie),
        };
        let Some((session, until)) = opened else {
            return Ok(Found::Nothing);
        };
        Ok(match self.user(store, &session).await? {
            Some(user) => Found::Known(Identity {
                user: user.into(),
                until,
                token_id: None,
                by_cookie: true,
            }),
            None => Found::Anonymous,
        })
    }

    /// Returns the session and when it runs out, in seconds since 1970.
    async fn in_database(
        &self,
        store: &dyn Store,
        key: &str,
    ) -> Result<Option<(Value, u64)>, StoreError> {
        let Some(row) = store.session(key.to_owned()).await? else {
            return Ok(None);
        };
        // The database may take two keys for one.
        if row.key != key {
            return Ok(None);
        }
        let until = u64::try_from(row.expires.micros() / 1_000_000).unwrap_or_default();
        // Django takes a session it cannot read for an empty one.
        let data = signing::loads(&row.data, DATABASE_SESSION, self.keys());
        Ok(Some((data.map_or(Value::Null, |it| it.value), until)))
    }

    fn in_cookie(&self, cookie: &str) -> Option<(Value, u64)> {
        let signed = signing::loads(cookie, COOKIE_SESSION, self.keys()).ok()?;
        let until = signed.at.saturating_add(self.settings.cookie_age_s);
        (until > since_1970().as_secs()).then_some((signed.value, until))
    }

    /// Returns the id, in the chat, of the user of a session.
    async fn user(&self, store: &dyn Store, session: &Value) -> Result<Option<String>, StoreError> {
        let Some(login) = Login::of(session) else {
            return Ok(None);
        };
        let row = store.user(&self.settings, &login.id).await?;
        let row = row.filter(|row| login.is_of(row));
        Ok(row.and_then(|row| self.chat_id(login, &row)))
    }

    /// Returns the id, in the chat, of the user who logged in, if nothing has ended that since.
    fn chat_id(&self, login: Login, row: &UserRow) -> Option<String> {
        let is_good = row.is_active && signing::is_hash_of(&login.hash, &row.password, self.keys());
        // Django writes a key into sessions as Python does, whatever the column makes of it.
        let is_key = self.settings.user_column == self.settings.id_column;
        is_good.then(|| {
            if is_key {
                login.id
            } else {
                row.chat_id.clone()
            }
        })
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(Secret::expose)
    }
}

#[async_trait]
impl Proof for Sessions {
    fn label(&self) -> &'static str {
        "django_session"
    }

    fn shown(&self, asked: &Credentials<'_>, _: &Words) -> Option<String> {
        asked.cookie(&self.settings.cookie)
    }

    fn is_in_protocol(&self) -> bool {
        false
    }

    // The result is at most `auth.django_session.cache_s` old.
    async fn find(&self, store: &dyn Store, shown: &str, meter: &Meter) -> Result<Found, Denied> {
        let look_up = self.look_up(store, shown);
        self.seen.find(shown, meter, look_up).await
    }

    // Two queries for any number of cookies.
    async fn users(
        &self,
        store: &dyn Store,
        cookies: &[&str],
    ) -> Result<HashMap<String, Arc<str>>, StoreError> {
        let logins: Vec<(String, Login)> = match self.settings.engine {
            SessionEngine::Database => {
                let keys: Vec<String> = cookies.iter().map(|&it| it.to_owned()).collect();
                let rows = store.sessions(&keys).await?.into_iter();
                let logins = rows.filter_map(|row| Some((row.key, self.login_in(&row.data)?)));
                logins.collect()
            }
            SessionEngine::SignedCookies => {
                let opened = cookies.iter().map(|&it| (it, self.in_cookie(it)));
                let logins = opened.filter_map(|(cookie, opened)| {
                    Some((cookie.to_owned(), Login::of(&opened?.0)?))
                });
                logins.collect()
            }
        };
        if logins.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: HashSet<&String> = logins.iter().map(|(_, login)| &login.id).collect();
        let ids: Vec<String> = ids.into_iter().cloned().collect();
        let rows = store.users(&self.settings, &ids).await?;
        let known = logins.into_iter().filter_map(|(cookie, login)| {
            let row = rows.iter().find(|row| login.is_of(row))?;
            Some((cookie, self.chat_id(login, row)?.into()))
        });
        Ok(known.collect())
    }

    fn denied(&self, _: Option<&Found>) -> Denied {
        Denied::NoSession
    }

    fn guard(
        &self,
        asked: &Credentials<'_>,
        foreign: Option<&str>,
        form_token: Option<&str>,
    ) -> Result<(), String> {
        csrf::check(csrf::OriginProof {
            foreign_origin: foreign,
            cookie: asked.cookie(CSRF_COOKIE).as_deref(),
            form: form_token,
            header: asked.text(&CSRF_HEADER).as_deref(),
        })
    }

    fn forget(&self, user: &str) {
        self.seen.forget(user);
    }

    async fn check(&self, store: &dyn Store) -> Result<(), StoreError> {
        // A key and an id that do not exist.
        store.session(String::new()).await?;
        store.user(&self.settings, "0").await?;
        Ok(())
    }
}
