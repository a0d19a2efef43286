//! Tokens that were taken back before they run out: those whose `jti` is a key in Redis.
//!
//! The issuer of the tokens sets the key, with the lifetime of the token; the value does not
//! matter. Without an answer of Redis every token is refused, because it may have been taken back.

use std::{collections::HashSet, time::Duration};

use redis::{Cmd, Value, cmd};
use tokio::sync::Mutex;

use super::identity::Denied;
use crate::layer::{
    LayerError,
    redis::address::{Address, RedisConnection},
};

/// The longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(3);

/// The list.
pub struct Revoked {
    address: Address,
    /// Stands before the `jti` in the name of a key.
    prefix: String,
    /// Held while a connection is opened, so that there is one.
    connection: Mutex<Option<RedisConnection>>,
}

impl Revoked {
    pub fn new(address: Address, prefix: String) -> Self {
        Revoked {
            address,
            prefix,
            connection: Mutex::default(),
        }
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
        // A kept connection may have died; a second one is new.
        let values = match self.ask(&asking).await {
            Ok(values) => Ok(values),
            Err(_) => self.ask(&asking).await,
        };
        let unavailable =
            |error| Denied::Unavailable(format!("the list of revoked tokens: {error}"));
        let found = ids.iter().zip(values.map_err(unavailable)?);
        let found = found.filter(|(_, value)| *value != Value::Nil);
        Ok(found.map(|(id, _)| *id).collect())
    }

    async fn ask(&self, asking: &Cmd) -> Result<Vec<Value>, LayerError> {
        let mut connection = self.connection().await?;
        let answer = asking.query_async(&mut connection).await;
        if answer.is_err() {
            *self.connection.lock().await = None;
        }
        answer.map_err(|error| LayerError::Unavailable(format!("{}: {error}", self.address)))
    }

    async fn connection(&self) -> Result<RedisConnection, LayerError> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = &*connection {
            return Ok(open.clone());
        }
        let opened = self.address.connect(ANSWER).await?;
        *connection = Some(opened.clone());
        Ok(opened)
    }
}
