//! The steps before HTTP on a connection: a proxy's header, the TLS handshake.

use crate::{
    config,
    net::{Io, Peer, Socket, proxy},
    tls::{HandshakeFailure, Tls},
};

/// Why a connection does not come to HTTP.
#[derive(Debug, thiserror::Error)]
pub enum Unwelcome {
    #[error("a proxy was refused: {0}")]
    Proxy(#[from] proxy::ProxyRefusal),
    #[error("no TLS connection: {0}")]
    Tls(#[from] HandshakeFailure),
}

/// Returns the connection as HTTP is spoken on it, and its peer. For how long that may take
/// is for the caller.
///
/// # Errors
/// See [`Unwelcome`]; the socket is closed.
pub async fn welcome(
    settings: &config::Server,
    tls: Option<&Tls>,
    mut socket: Socket,
) -> Result<(Io, Peer), Unwelcome> {
    let mut address = socket.peer();
    if settings.proxy_protocol && settings.trusts(address) {
        address = proxy::read(&mut socket).await?.or(address);
    }
    let secure = tls.is_some();
    let io = match tls {
        None => Io::Plain(socket),
        Some(tls) => Io::Tls(Box::new(tls.accept(socket).await?.into())),
    };
    Ok((io, Peer { address, secure }))
}
