//! One GET: plain or by TLS, of bounded size and time, and no further than where it was sent.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Method, StatusCode, Uri, header::ACCEPT};
use tokio::time::timeout;

use crate::net::client::{self, ClientConnection, NoTls};

/// Longest that all of it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of an answer; a key has less than a thousand.
const BODY_MAX: usize = 256 * 1024;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] NoTls),
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
    let tls = if client::is_tls(url) {
        Some(client::tls_to(url, authorities).await?)
    } else {
        None
    };
    let mut connection = ClientConnection::open(url, tls.as_ref()).await?;
    let request = client::request(Method::GET, url)
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())?;
    let response = connection.send(request).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = client::whole(response.into_body(), BODY_MAX).await;
    body.ok_or(FetchError::Body)
}
