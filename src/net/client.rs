//! An HTTP/1.1 client for what Chatferry itself asks others: keys, the collector of traces. One
//! request at a time on a connection, plain or by TLS, with bounded answers. Redirections are not
//! followed. Time limits are the caller's.
//!
//! The gateway passes requests on as they came, with upgrades and bodies that stream, so it has its
//! own connections; it shares [`TlsName`].

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, Uri,
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{HOST, USER_AGENT},
    http::request,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig,
    pki_types::{InvalidDnsNameError, ServerName},
};
use tokio::{
    net::TcpStream,
    task::{AbortHandle, spawn_blocking},
};
use tokio_rustls::TlsConnector;

use super::{Io, Socket};
use crate::tls::{Authorities, Trust, client_config};

/// Most bytes of the head of an answer.
const HEAD_MAX: usize = 16 * 1024;

/// TLS to a server of one name.
pub struct TlsName {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsName {
    /// Makes TLS to a host as a URL has it: a name, or an address, that of IPv6 in brackets.
    ///
    /// # Errors
    /// When the host is neither.
    pub fn new(host: &str, mut config: ClientConfig) -> Result<Self, InvalidDnsNameError> {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsName {
            connector: Arc::new(config).into(),
            name: ServerName::try_from(bare(host).to_owned())?,
        })
    }

    /// Shakes hands with the server at the other end of a socket.
    ///
    /// # Errors
    /// When the handshake fails; the socket is closed.
    pub async fn over(&self, socket: Socket) -> io::Result<Io> {
        let stream = self.connector.connect(self.name.clone(), socket).await?;
        Ok(Io::Tls(Box::new(stream.into())))
    }
}

/// Removes the brackets around an address of IPv6, which only a URL has.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Returns whether a URL asks for TLS.
#[must_use]
pub fn is_tls(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

/// Returns the host of a URL, without the brackets of IPv6, and its port or that of its scheme.
#[must_use]
pub fn host_and_port(url: &Uri) -> (&str, u16) {
    let port = if is_tls(url) { 443 } else { 80 };
    let host = bare(url.host().unwrap_or_default());
    (host, url.port_u16().unwrap_or(port))
}

/// Makes TLS to the host of a URL. The certificate is checked by the authorities in a PEM file, or
/// without one by the system's. These are read anew each time: that is seldom, and the system's would
/// take more memory than all the rest of the program.
///
/// # Errors
/// When the authorities cannot be read, or the host is no name.
pub async fn tls_to(url: &Uri, authorities: Option<&Path>) -> Result<TlsName, NoTls> {
    let authorities = authorities.map(Path::to_owned);
    let trusted = spawn_blocking(move || Authorities::read(authorities.as_deref()));
    let trusted = trusted.await.map_err(no_tls)?.map_err(no_tls)?;
    let config = client_config(Trust::Name(trusted), None).map_err(no_tls)?;
    TlsName::new(url.host().unwrap_or_default(), config).map_err(no_tls)
}

/// Why a server cannot be asked by TLS.
#[derive(Debug, thiserror::Error)]
#[error("cannot be asked by TLS: {0}")]
pub struct NoTls(String);

#[expect(
    clippy::needless_pass_by_value,
    reason = "so that it can be named where errors are turned into ours"
)]
fn no_tls(error: impl ToString) -> NoTls {
    NoTls(error.to_string())
}

/// A connection to a server. It is closed when this is dropped.
pub struct ClientConnection<B> {
    requests: SendRequest<B>,
    /// Of the task that reads and writes.
    driver: AbortHandle,
}

impl<B> ClientConnection<B>
where
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    /// Connects to the server of a URL, by TLS if there is a name for it.
    ///
    /// # Errors
    /// When the server cannot be reached, or the handshake fails.
    pub async fn open(url: &Uri, tls: Option<&TlsName>) -> io::Result<Self> {
        let stream = TcpStream::connect(host_and_port(url)).await?;
        ClientConnection::over(stream, tls).await
    }

    /// Uses a socket that is connected, by TLS if there is a name for it.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn over(stream: TcpStream, tls: Option<&TlsName>) -> io::Result<Self> {
        let io = match tls {
            Some(tls) => tls.over(stream.into()).await?,
            None => Io::Plain(stream.into()),
        };
        let mut builder = http1::Builder::new();
        let builder = builder.max_buf_size(HEAD_MAX);
        let handshake = builder.handshake(TokioIo::new(io)).await;
        let (requests, connection) = handshake.map_err(io::Error::other)?;
        let driver = tokio::spawn(connection).abort_handle();
        Ok(ClientConnection { requests, driver })
    }

    /// Waits until a request can be sent; `false` if the server has closed the connection.
    pub async fn is_ready(&mut self) -> bool {
        self.requests.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is not HTTP.
    pub async fn send(&mut self, request: Request<B>) -> hyper::Result<Response<Incoming>> {
        self.requests.send_request(request).await
    }
}

impl<B> Drop for ClientConnection<B> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Begins a request for a URL.
#[must_use]
pub fn request(method: Method, url: &Uri) -> request::Builder {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("chatferry/", env!("CARGO_PKG_VERSION")))
}

/// Reads the body of an answer to its end; `None` if it breaks off or has more than `max` bytes.
pub async fn whole(body: Incoming, max: usize) -> Option<Bytes> {
    let body = Limited::new(body, max).collect().await.ok()?;
    Some(body.to_bytes())
}
