//! A connection to one host for questions that are no part of the channel layer.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisError};
use tokio::sync::Mutex;

use super::{
    address::{Address, RedisConnection},
    addresses,
};
use crate::{config, layer::LayerError};

/// The longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(3);

/// The way to one host, opened when it is first needed and kept.
pub struct SingleHost {
    address: Address,
    /// Held while a connection is opened, so that there is one.
    connection: Mutex<Option<RedisConnection>>,
}

impl SingleHost {
    #[must_use]
    pub fn new(address: Address) -> Self {
        SingleHost {
            address,
            connection: Mutex::default(),
        }
    }

    /// The first host of these settings.
    ///
    /// # Errors
    /// [`LayerError::Settings`] for an address that is none.
    pub fn first_of(settings: &config::Layer) -> Result<Option<Self>, LayerError> {
        let first = addresses(settings)?.into_iter().next();
        Ok(first.map(SingleHost::new))
    }

    /// Asks. A command is sent a second time if the connection breaks, and may then be executed
    /// twice.
    ///
    /// # Errors
    /// [`LayerError::Unavailable`] without an answer.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LayerError> {
        // A kept connection may have died; a second one is new.
        match self.try_to_ask(command).await {
            Ok(answer) => Ok(answer),
            Err(_) => self.try_to_ask(command).await,
        }
    }

    async fn try_to_ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LayerError> {
        let mut connection = self.connection().await?;
        match command.query_async(&mut connection).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(&error).await),
        }
    }

    /// Drops the connection, and returns the failure as it is told.
    pub(super) async fn failed(&self, error: &RedisError) -> LayerError {
        *self.connection.lock().await = None;
        LayerError::Unavailable(format!("{}: {error}", self.address))
    }

    pub(super) async fn connection(&self) -> Result<RedisConnection, LayerError> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = &*connection {
            return Ok(open.clone());
        }
        let opened = self.address.connect(ANSWER).await?;
        *connection = Some(opened.clone());
        Ok(opened)
    }
}
