//! `chatferry healthcheck`: asks the server of these settings whether it is ready, for containers
//! without curl.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{Bind, Server};
use crate::tls::{Trust, client_config};

/// From connecting to the whole answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// As much of an answer as is read; the real one is a line or two.
const MAX_ANSWER: u64 = 16 * 1024;

/// Why the server does not count as ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    #[error("{bind} cannot be reached: {error}")]
    Unreachable { bind: Bind, error: io::Error },
    #[error("{bind} gave no answer within {patience:?}")]
    Silent { bind: Bind, patience: Duration },
    #[error("{bind} is not ready: {answer}")]
    Refused { bind: Bind, answer: String },
}

/// Asks for `/readyz` at the address the server listens on.
///
/// # Errors
/// On anything but a 200 within three seconds.
pub(super) async fn ready(server: &Server) -> Result<(), NotReady> {
    ready_within(PATIENCE, server).await
}

/// Returns whether it is a Chatferry that answers at the address to listen on.
pub(super) async fn is_served(server: &Server) -> bool {
    let Ok(Ok(answer)) = timeout(PATIENCE, ask(server)).await else {
        return false;
    };
    // The parts of `/readyz`, whatever its status.
    answer.contains("\"store\":") && answer.contains("\"layer\":")
}

async fn ready_within(patience: Duration, server: &Server) -> Result<(), NotReady> {
    let bind = &server.bind;
    let answer = timeout(patience, ask(server)).await;
    let answer = answer.map_err(|_| NotReady::Silent {
        bind: bind.clone(),
        patience,
    })?;
    let answer = answer.map_err(|error| NotReady::Unreachable {
        bind: bind.clone(),
        error,
    })?;
    let status = answer
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1));
    if status == Some("200") {
        return Ok(());
    }
    let first = answer.lines().next().unwrap_or_default();
    let body = answer
        .split_once("\r\n\r\n")
        .map_or("", |(_, body)| body.trim());
    Err(NotReady::Refused {
        bind: bind.clone(),
        answer: format!("{first} {body}").trim().to_owned(),
    })
}

async fn ask(server: &Server) -> io::Result<String> {
    match &server.bind {
        Bind::Tcp(address) => {
            let stream = TcpStream::connect(reachable(*address)).await?;
            let ours = stream.local_addr()?.ip();
            get(server, stream, Some(ours)).await
        }
        Bind::Unix(path) => get(server, UnixStream::connect(path).await?, None).await,
    }
}

/// Returns the address to connect to for one that is listened on: "every interface" is none to
/// call.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// `ours` is our own address as the server sees it.
async fn get(
    server: &Server,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ours: Option<IpAddr>,
) -> io::Result<String> {
    if server.proxy_protocol && server.trusts(ours) {
        stream.write_all(b"PROXY UNKNOWN\r\n").await?;
    }
    if server.tls.files().is_none() {
        return exchange(stream).await;
    }
    // It is this very machine, and the certificate is for the names that others call it by.
    let config = client_config(Trust::Anybody, None).map_err(io::Error::other)?;
    let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let connector = TlsConnector::from(Arc::new(config));
    exchange(connector.connect(name, stream).await?).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    use crate::config::Config;

    /// Returns the settings of a server that listens there.
    fn server(bind: &Bind) -> Server {
        Config::of(&[("server.bind", &bind.to_string())]).server
    }

    /// Answers one connection with `answer` once the whole request is in.
    async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
        assert!(request.starts_with(b"GET /readyz HTTP/1.1\r\n"));
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    async fn ready_when_told(text: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bind = Bind::any(listener.local_addr().unwrap().port());
        let settings = server(&bind);
        let answering = async { answer(listener.accept().await.unwrap().0, text).await };
        let (result, ()) = tokio::join!(ready(&settings), answering);
        result.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_200_is_ready() {
        assert_eq!(
            ready_when_told("HTTP/1.1 200 OK\r\n\r\nready").await,
            Ok(())
        );
    }

    #[tokio::test]
    async fn anything_else_is_not_and_is_told() {
        let busy =
            ready_when_told("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nstore: locked\n");
        let error = busy.await.unwrap_err();
        assert!(
            error.ends_with("is not ready: HTTP/1.1 503 Service Unavailable store: locked"),
            "{error}"
        );
        assert!(
            ready_when_told("SSH-2.0-x\r\n")
                .await
                .unwrap_err()
                .ends_with("not ready: SSH-2.0-x")
        );
        assert!(ready_when_told("").await.is_err());
        assert!(ready_when_told("HTTP/1.1 404 200\r\n\r\n").await.is_err());
    }

    #[tokio::test]
    async fn nobody_listening_is_told() {
        let bind = Bind::try_from("127.0.0.1:1".to_owned()).unwrap();
        let error = ready(&server(&bind)).await.unwrap_err().to_string();
        assert!(
            error.starts_with("127.0.0.1:1 cannot be reached:"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_silent_server_is_not_waited_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bind = Bind::Tcp(listener.local_addr().unwrap());
        let error = ready_within(Duration::from_millis(20), &server(&bind))
            .await
            .unwrap_err();
        assert!(
            error.to_string().ends_with("gave no answer within 20ms"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_unix_socket_is_asked_like_any_other() {
        let path =
            std::env::temp_dir().join(format!("chatferry-health-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let bind = Bind::Unix(path.clone());
        let text = "HTTP/1.1 200 OK\r\n\r\n";
        let settings = server(&bind);
        let answering = async { answer(listener.accept().await.unwrap().0, text).await };
        let (result, ()) = tokio::join!(ready(&settings), answering);
        std::fs::remove_file(path).unwrap();
        assert!(result.is_ok());
    }

    #[test]
    fn every_interface_is_called_through_loopback() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
    }
}
