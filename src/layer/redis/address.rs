//! Connections to the Redis that an entry of `layer.hosts` names ([`RedisUrl`]).

mod dial;

use std::{fmt, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, RedisConnectionInfo,
    aio::{MultiplexedConnection, PubSub},
};

pub use self::dial::RedisConnection;

use self::dial::dial;
use super::bounds::{Ahead, Bounded};
use crate::{
    config::redis_url::{RedisPlace, RedisUrl, Sentinels, Server},
    layer::LayerError,
};

/// From the first packet to a connection that has logged in.
const CONNECT: Duration = Duration::from_secs(2);

/// Commands that wait to be written before those that give them wait too.
const PIPELINE: usize = 1024;

/// Bytes gathered before they are written while more commands wait.
const WRITE: usize = 64 * 1024;

/// Most bytes of a value in an answer, where no events come.
const VALUE: usize = 1024 * 1024;

/// A Redis, and how much it may answer.
#[derive(Clone, Debug)]
pub struct Address {
    url: RedisUrl,
    /// Most bytes of a value in an answer.
    value_max: usize,
}

impl From<RedisUrl> for Address {
    fn from(url: RedisUrl) -> Self {
        Address {
            url,
            value_max: VALUE,
        }
    }
}

impl Address {
    /// Returns the same address for answers with values of up to this many bytes; larger ones are
    /// left out.
    #[must_use]
    pub fn with_values_of(mut self, bytes: usize) -> Self {
        self.value_max = bytes;
        self
    }

    /// Opens a connection for commands, or one that also waits for messages if `response` is long
    /// enough for that. `response` bounds the wait for each answer.
    pub async fn connect(&self, response: Duration) -> Result<RedisConnection, LayerError> {
        Ok(self.connect_to(response).await?.0)
    }

    /// Returns the same, and the address of the server that it leads to.
    pub async fn connect_to(
        &self,
        response: Duration,
    ) -> Result<(RedisConnection, String), LayerError> {
        let server = self.server().await?;
        let connection =
            within(commands(&server, &self.url.login, response, self.value_max)).await?;
        Ok((connection, server.to_string()))
    }

    /// Fails if the Sentinels lead to another server than this one by now: it may take for the
    /// master itself until they demote it. Without Sentinels, and without an answer, nothing is
    /// known.
    ///
    /// # Errors
    /// [`LayerError::Unavailable`].
    pub async fn still_leads_to(&self, server: &str) -> Result<(), LayerError> {
        let RedisPlace::Sentinels(sentinels) = &self.url.place else {
            return Ok(());
        };
        match find_master(sentinels).await {
            Ok(at) if at.to_string() != server => Err(unavailable(format!(
                "the Sentinels name {at} as the master, and no longer {server}"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns whether Sentinels are asked for the server.
    #[must_use]
    pub fn has_sentinels(&self) -> bool {
        matches!(self.url.place, RedisPlace::Sentinels(_))
    }

    /// Opens a connection for subscriptions. `ahead` is for the task that takes the messages.
    pub async fn subscribe(&self, ahead: &Arc<Ahead>) -> Result<PubSub, LayerError> {
        let server = self.server().await?;
        within(async {
            let stream = Bounded::new(dial(&server).await?, self.value_max);
            let stream = stream.not_far_ahead(Arc::clone(ahead));
            PubSub::new(&self.url.login, stream)
                .await
                .map_err(unavailable)
        })
        .await
    }

    async fn server(&self) -> Result<Server, LayerError> {
        match &self.url.place {
            RedisPlace::At(server) => Ok(server.clone()),
            RedisPlace::Sentinels(sentinels) => find_master(sentinels).await,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

fn unavailable(error: impl fmt::Display) -> LayerError {
    LayerError::Unavailable(error.to_string())
}

async fn within<T>(opening: impl Future<Output = Result<T, LayerError>>) -> Result<T, LayerError> {
    match tokio::time::timeout(CONNECT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(unavailable("no connection within 2 s")),
    }
}

/// Opens a connection for commands, logged in.
async fn commands(
    server: &Server,
    login: &RedisConnectionInfo,
    response: Duration,
    value_max: usize,
) -> Result<RedisConnection, LayerError> {
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(response))
        .set_pipeline_buffer_size(PIPELINE)
        .set_write_backpressure_boundary(WRITE);
    let stream = Bounded::new(dial(server).await?, value_max);
    let opened = MultiplexedConnection::new_with_config(login, stream, config).await;
    let (commands, driver) = opened.map_err(unavailable)?;
    Ok(RedisConnection::driven_by(driver, commands))
}

/// Asks one Sentinel after the other.
async fn find_master(sentinels: &Sentinels) -> Result<Server, LayerError> {
    let mut last = unavailable("no Sentinel answers");
    for sentinel in &sentinels.servers {
        match ask(sentinels, sentinel).await {
            Ok(at) => return Ok(at),
            Err(LayerError::Unavailable(why)) => {
                last = unavailable(format!("the Sentinel {sentinel}: {why}"));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn ask(of: &Sentinels, sentinel: &Server) -> Result<Server, LayerError> {
    let mut connection = within(commands(sentinel, &of.login, CONNECT, VALUE)).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(&of.master);
    let answer = question.query_async::<Option<(String, u16)>>(&mut connection);
    let (host, port) = answer
        .await
        .map_err(unavailable)?
        .ok_or_else(|| unavailable(format!("the Sentinels know no master {}", of.master)))?;
    Ok(Server::Tcp(host, port, of.tls.clone()))
}
