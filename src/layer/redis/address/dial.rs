//! The way to one server: TCP, with TLS or without, or a socket file.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

use redis::{
    Cmd, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

use super::{options::Secured, unavailable};
use crate::layer::LayerError;

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Server {
    Tcp(String, u16, Option<Secured>),
    File(PathBuf),
}

/// The bytes to and from a server.
pub type Stream = Pin<Box<dyn Bytes>>;

pub trait Bytes: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Bytes for T {}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Tcp(host, port, _) => write!(f, "{host}:{port}"),
            Server::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Server {
    /// Opens a connection that nothing has been said on.
    pub async fn dial(&self) -> Result<Stream, LayerError> {
        let (host, port, secured) = match self {
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
        let connector = TlsConnector::from(Arc::new(secured.config().await?));
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| unavailable(format!("TLS: {error}")))?;
        Ok(Box::pin(stream))
    }
}

/// A connection for commands. It is closed with its last clone, whatever is still to be answered: a
/// command that waits for a message must not take one that nobody will hear.
#[derive(Clone)]
pub struct Connection {
    commands: MultiplexedConnection,
    _driver: Arc<Driver>,
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Spawns the driver.
    pub fn driven_by(
        driver: impl Future<Output = ()> + Send + 'static,
        commands: MultiplexedConnection,
    ) -> Self {
        Connection {
            commands,
            _driver: Arc::new(Driver(tokio::spawn(driver))),
        }
    }
}

impl Deref for Connection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.commands
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.commands
    }
}

impl ConnectionLike for Connection {
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
