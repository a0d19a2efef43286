//! One connection to a Redis server: by TCP, by TLS or by a socket file, its answers
//! [bounded](super::bounds).

use std::{
    io,
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::Arc,
};

use redis::{
    Cmd, ConnectionAddr, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::{JoinHandle, spawn_blocking},
};
use tokio_rustls::TlsConnector;

use crate::tls::{Anybody, roots};

/// What a connection goes over.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// A connection for commands; clones are the same one.
#[derive(Clone)]
pub struct Connection {
    inner: MultiplexedConnection,
    _driver: Arc<Driver>,
}

/// The task that reads and writes, which ends with the last clone: a server that has stopped would
/// keep it for ever.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Takes over a connection that is set up, and begins to drive it.
    #[must_use]
    pub fn new(
        inner: MultiplexedConnection,
        driver: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Connection {
            inner,
            _driver: Arc::new(Driver(tokio::spawn(driver))),
        }
    }
}

impl Deref for Connection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.inner
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.inner
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.inner.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.inner.req_packed_commands(cmd, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

/// Opens a connection. A server with TLS is believed by the authorities in `ca_file`, or without one
/// by the system's.
///
/// # Errors
/// When it cannot be reached or is not believed.
pub async fn open(to: &ConnectionAddr, ca_file: Option<&str>) -> io::Result<Box<dyn Io>> {
    match to {
        ConnectionAddr::Tcp(host, port) => Ok(Box::new(tcp(host, *port).await?)),
        ConnectionAddr::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure,
            ..
        } => {
            let connector = connector(*insecure, ca_file.map(PathBuf::from)).await?;
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let stream = tcp(host, *port).await?;
            Ok(Box::new(connector.connect(name, stream).await?))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn connector(insecure: bool, ca_file: Option<PathBuf>) -> io::Result<TlsConnector> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = if insecure {
        let anybody = Arc::new(Anybody::new(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(anybody)
            .with_no_client_auth()
    } else {
        let trusted = spawn_blocking(move || roots(ca_file.as_deref())).await?;
        builder
            .with_root_certificates(trusted.map_err(io::Error::other)?)
            .with_no_client_auth()
    };
    Ok(TlsConnector::from(Arc::new(config)))
}
