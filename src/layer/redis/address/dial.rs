//! The way to one server: TCP, with TLS or without, or a socket file.

use std::{
    ops::{Deref, DerefMut},
    pin::Pin,
    sync::Arc,
};

use redis::{
    Cmd, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::{JoinHandle, spawn_blocking},
};
use tokio_rustls::TlsConnector;

use super::unavailable;
use crate::{
    config::redis_url::{CertificateChecks, Secured, Server},
    layer::LayerError,
    tls::{self, Authorities, ClientIdentity, Trust},
};

/// The bytes to and from a server.
pub type Stream = Pin<Box<dyn Bytes>>;

pub trait Bytes: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Bytes for T {}

/// Opens a connection to a server, that nothing has been said on.
pub async fn dial(server: &Server) -> Result<Stream, LayerError> {
    let (host, port, secured) = match server {
        Server::Tcp(host, port, secured) => (host.as_str(), *port, secured),
        Server::File(path) => {
            let stream = UnixStream::connect(path).await.map_err(unavailable)?;
            return Ok(Box::pin(stream));
        }
    };
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(unavailable)?;
    stream.set_nodelay(true).map_err(unavailable)?;
    let Some(secured) = secured else {
        return Ok(Box::pin(stream));
    };
    let name = ServerName::try_from(host.to_owned()).map_err(unavailable)?;
    let connector = TlsConnector::from(Arc::new(client_config(secured).await?));
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(|error| unavailable(format!("TLS: {error}")))?;
    Ok(Box::pin(stream))
}

/// Reads the files of a secured connection anew each time: they may have been renewed, and
/// connections are few.
async fn client_config(secured: &Secured) -> Result<ClientConfig, LayerError> {
    let secured = secured.clone();
    let read = spawn_blocking(move || read(&secured)).await;
    read.map_err(unavailable)?.map_err(unavailable)
}

fn read(secured: &Secured) -> Result<ClientConfig, String> {
    let authorities = || {
        let file = secured.authorities.as_deref();
        let shown = file.map_or_else(String::new, |file| format!("{}: ", file.display()));
        let read = Authorities::read(file).map_err(|error| format!("{shown}{error}"))?;
        if read.is_empty() {
            return Err(format!(
                "{shown}there are no certificates to trust: ssl_ca_certs"
            ));
        }
        Ok(read)
    };
    let trust = match secured.checks {
        CertificateChecks::Nothing => Trust::Anybody,
        CertificateChecks::Chain => Trust::Chain(authorities()?),
        CertificateChecks::Name => Trust::Name(authorities()?),
    };
    let identity = secured.identity.as_ref();
    let identity = identity.map(|(cert, key)| ClientIdentity::read(cert, key));
    tls::client_config(trust, identity.transpose()?).map_err(|error| error.to_string())
}

/// A connection for commands. It is closed with its last clone, whatever is still to be answered: a
/// command that waits for a message must not take one that would be lost.
#[derive(Clone)]
pub struct RedisConnection {
    commands: MultiplexedConnection,
    _driver: Arc<Driver>,
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RedisConnection {
    /// Spawns the driver.
    pub fn driven_by(
        driver: impl Future<Output = ()> + Send + 'static,
        commands: MultiplexedConnection,
    ) -> Self {
        RedisConnection {
            commands,
            _driver: Arc::new(Driver(tokio::spawn(driver))),
        }
    }
}

impl Deref for RedisConnection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.commands
    }
}

impl DerefMut for RedisConnection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.commands
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.commands.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.commands.req_packed_commands(commands, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.commands.get_db()
    }
}
