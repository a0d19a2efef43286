//! One GET: plain or by TLS, of bounded size and time, and no further than where it was sent.

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode, Uri,
    client::conn::http1,
    header::{ACCEPT, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::tls::{Authorities, Trust, client_config};

/// Longest that all of it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of an answer; a key has less than a thousand.
const BODY_MAX: usize = 256 * 1024;

/// Most bytes of the head of an answer.
const HEAD_MAX: usize = 16 * 1024;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("cannot be asked by TLS: {0}")]
    Tls(String),
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the address cannot be asked for: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the answer is {0}; redirections are not followed")]
    Status(StatusCode),
    #[error("the answer breaks off or has more than {BODY_MAX} bytes")]
    Body,
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("the answer is no key set")]
    NoKeySet,
}

/// Returns the body of a 200. The peer's certificate is checked by the `authorities` in a PEM file,
/// or without one by the system's.
///
/// # Errors
/// See [`FetchError`].
pub async fn get(url: &Uri, authorities: Option<&Path>) -> Result<Bytes, FetchError> {
    timeout(PATIENCE, connect_and_ask(url, authorities))
        .await
        .unwrap_or(Err(FetchError::Late))
}

async fn connect_and_ask(url: &Uri, authorities: Option<&Path>) -> Result<Bytes, FetchError> {
    let host = url.host().unwrap_or_default();
    // An IPv6 address has brackets in a URL only.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let is_tls = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((name, port)).await?;
    if !is_tls {
        return ask(stream, url).await;
    }
    let name = ServerName::try_from(name.to_owned()).map_err(no_tls)?;
    // Read anew each time: it happens once a minute at most, and the system's would take more
    // memory than all the rest of the program.
    let authorities = authorities.map(Path::to_owned);
    let trusted = spawn_blocking(move || Authorities::read(authorities.as_deref()));
    let trusted = trusted.await.map_err(no_tls)?.map_err(no_tls)?;
    let config = client_config(Trust::Name(trusted), None).map_err(no_tls)?;
    let connector = TlsConnector::from(Arc::new(config));
    ask(connector.connect(name, stream).await?, url).await
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "so that it can be named where errors are turned into ours"
)]
fn no_tls(error: impl ToString) -> FetchError {
    FetchError::Tls(error.to_string())
}

async fn ask<S>(stream: S, url: &Uri) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    let builder = builder.max_buf_size(HEAD_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::get(target)
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "chatferry")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), BODY_MAX);
        let whole = body.collect().await.map_err(|_| FetchError::Body)?;
        Ok(whole.to_bytes())
    };
    let answer = answer.await;
    driver.abort();
    answer
}
