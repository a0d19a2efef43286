//! Tokens that were taken back before they run out: those whose `jti` is a key in Redis.
//!
//! The issuer of the tokens sets the key, with the lifetime of the token; the value does not
//! matter. Without an answer of Redis every token is refused, because it may have been taken back.

use std::collections::HashSet;

use redis::{Value, cmd};

use super::identity::Denied;
use crate::layer::redis::single::SingleHost;

/// The list.
pub struct Revoked {
    host: SingleHost,
    /// Stands before the `jti` in the name of a key.
    prefix: String,
}

impl Revoked {
    pub fn new(host: SingleHost, prefix: String) -> Self {
        Revoked { host, prefix }
    }

    /// Returns the tokens, by their `jti`, that were taken back, of those given.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] without an answer.
    pub async fn among<'a>(&self, ids: &[&'a str]) -> Result<HashSet<&'a str>, Denied> {
        let mut asking = cmd("MGET");
        for id in ids {
            asking.arg(format!("{}{id}", self.prefix));
        }
        let values: Result<Vec<Value>, _> = self.host.ask(&asking).await;
        let unavailable =
            |error| Denied::Unavailable(format!("the list of revoked tokens: {error}"));
        let found = ids.iter().zip(values.map_err(unavailable)?);
        let found = found.filter(|(_, value)| *value != Value::Nil);
        Ok(found.map(|(id, _)| *id).collect())
    }
}
