//! TLS for clients, by rustls: 1.2 and 1.3, its own choice of ciphers, certificates that can be
//! replaced while the server runs. TLS to databases and to Redis is set in their URLs; whose
//! certificates are believed there, and by the gateway, is in `trust`.
//!
//! HTTP/1.1 is all that is offered. WebSockets over HTTP/2 (RFC 8441) would need a stream of
//! hyper's in the place of a socket, which fastwebsockets' handshake does not know; clients that
//! offer both take HTTP/1.1, as browsers do for WebSockets anyway.

mod anybody;
mod crowd;
mod trust;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::crowd::Crowd;
pub use self::trust::{Authorities, ClientIdentity, Trust, client_config};
use crate::config;

/// Most handshakes at once. Each may hold up to about 100 KiB until it is over.
const HANDSHAKES_MAX: usize = 1024;

/// The certificate in use, and the handshakes under way.
pub struct Tls {
    live: RwLock<Arc<ServerConfig>>,
    crowd: Crowd,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("server.tls.cert: {} {why}", path.display())]
    Certificate { path: PathBuf, why: String },
    #[error("server.tls.key: {} {why}", path.display())]
    Key { path: PathBuf, why: String },
    #[error("server.tls: the certificate and the key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFailure {
    /// One of the two did not like what the other said.
    #[error("refused: {0}")]
    Refused(io::Error),
    #[error("ended: {0}")]
    Ended(io::Error),
    /// Too many others began after it and it was still not done.
    #[error("crowded out")]
    Crowded,
}

impl HandshakeFailure {
    /// Returns the failure's word in the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            HandshakeFailure::Refused(_) => "refused",
            HandshakeFailure::Ended(_) => "ended",
            HandshakeFailure::Crowded => "crowded",
        }
    }
}

impl Tls {
    /// Reads the files, if the settings name any.
    ///
    /// # Errors
    /// When they cannot be read, or do not hold a certificate and its key.
    pub fn of(settings: &config::Tls) -> Result<Option<Self>, TlsError> {
        let Some(files) = settings.files() else {
            return Ok(None);
        };
        Ok(Some(Tls {
            live: RwLock::new(Arc::new(read(files)?)),
            crowd: Crowd::new(HANDSHAKES_MAX),
        }))
    }

    /// Reads the files again, for handshakes from now on.
    ///
    /// # Errors
    /// As [`Tls::of`]; the certificate in use stays.
    pub fn reload(&self, settings: &config::Tls) -> Result<(), TlsError> {
        if let Some(files) = settings.files() {
            let config = Arc::new(read(files)?);
            *self.live.write().unwrap_or_else(PoisonError::into_inner) = config;
        }
        Ok(())
    }

    /// Shakes hands with a client. For how long is for the caller.
    ///
    /// # Errors
    /// See [`HandshakeFailure`]; the socket is closed.
    pub async fn accept<S>(&self, socket: S) -> Result<TlsStream<S>, HandshakeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let live = Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner));
        let mut place = self.crowd.enter();
        tokio::select! {
            done = TlsAcceptor::from(live).accept(socket) => done.map_err(|error| {
                if error.kind() == io::ErrorKind::InvalidData {
                    HandshakeFailure::Refused(error)
                } else {
                    HandshakeFailure::Ended(error)
                }
            }),
            () = place.lost() => Err(HandshakeFailure::Crowded),
        }
    }
}

fn read((cert, key): (&Path, &Path)) -> Result<ServerConfig, TlsError> {
    let certificate = |why| TlsError::Certificate {
        path: cert.to_owned(),
        why,
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| certificate(told(&error)))?;
    if chain.is_empty() {
        return Err(certificate("holds no certificate in PEM form".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Key {
        path: key.to_owned(),
        why: told(&error),
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Describes what is wrong with a file, without quoting it.
fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => "holds no private key in PEM form".to_owned(),
        _ => "is no proper PEM file".to_owned(),
    }
}
