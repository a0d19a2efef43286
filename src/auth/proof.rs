//! The proofs of identity that a dialect brings along, beside tokens that are signed.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;

use super::{
    SetupError,
    identity::{Credentials, Denied},
    remembered::Found,
    words::Words,
};
use crate::{
    config::Config,
    limits::Meter,
    store::{Store, StoreError},
};

/// Opens the proof that `auth.identity` names, if it is one of the dialect's.
pub type OpenProof = fn(&Config) -> Result<Option<Box<dyn Proof>>, SetupError>;

/// A way to show who is asking, whose truth is in the database: the cookie of a session, the token
/// of a row.
#[async_trait]
pub trait Proof: Send + Sync {
    /// Returns the label in the metrics: the word of the settings.
    fn label(&self) -> &'static str;

    /// Returns what a request shows, if it shows anything.
    fn shown(&self, asked: &Credentials<'_>, words: &Words) -> Option<String>;

    /// Returns `true` if it may be shown in a subprotocol of sockets.
    fn is_in_protocol(&self) -> bool;

    /// Finds out where what was shown leads. The meter counts what leads nowhere.
    ///
    /// # Errors
    /// When the store cannot tell, or the client may not have it asked.
    async fn find(&self, store: &dyn Store, shown: &str, meter: &Meter) -> Result<Found, Denied>;

    /// Looks up the user of each that was shown, past what is remembered. A few queries for any
    /// number.
    ///
    /// # Errors
    /// When the store cannot tell.
    async fn users(
        &self,
        store: &dyn Store,
        shown: &[&str],
    ) -> Result<HashMap<String, Arc<str>>, StoreError>;

    /// Returns why a caller is denied of whom this was found, or who has shown nothing.
    fn denied(&self, found: Option<&Found>) -> Denied;

    /// Guards a caller known by a cookie against the pages of others. `foreign` is the `Origin`, if
    /// it is not trusted; `form_token` is what a posted form has against forgery.
    ///
    /// # Errors
    /// The reason.
    fn guard(
        &self,
        asked: &Credentials<'_>,
        foreign: Option<&str>,
        form_token: Option<&str>,
    ) -> Result<(), String> {
        let _ = form_token;
        guard(asked, foreign)
    }

    /// Forgets what is remembered of a user.
    fn forget(&self, user: &str);

    /// Checks whether the tables that it reads are there.
    ///
    /// # Errors
    /// When they are not, or the store cannot tell.
    async fn check(&self, store: &dyn Store) -> Result<(), StoreError>;
}

/// Checks that no page of another site made a browser send a request: by its origin, or by what the
/// browser says.
///
/// # Errors
/// The reason.
pub fn guard(asked: &Credentials<'_>, foreign: Option<&str>) -> Result<(), String> {
    match foreign {
        Some(origin) => Err(format!("Origin checking failed - {origin} is not trusted.")),
        None if asked.is_cross_site() => Err("Another site made the request.".into()),
        None => Ok(()),
    }
}
