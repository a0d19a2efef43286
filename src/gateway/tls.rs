//! TLS to the upstream: whom to believe that they are it.

use std::{io, path::Path, sync::Arc};

use rustls::pki_types::{InvalidDnsNameError, ServerName, pem};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::{
    net::Socket,
    tls::{self, Authorities, Trust},
};

/// Why it is not known whom to believe.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("gateway.upstream: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("gateway.upstream_ca {file}: {error}")]
    File { file: String, error: pem::Error },
    #[error(
        "gateway.upstream has TLS, and there is no authority to believe: set gateway.upstream_ca"
    )]
    Nobody,
    #[error("gateway.upstream: {0}")]
    Tls(#[from] rustls::Error),
}

/// The way to talk to one server.
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// To `host:port`; `authorities` is a PEM file in place of the system's.
    pub fn to(address: &str, authorities: Option<&Path>) -> Result<Self, TrustError> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())?;
        let trust = Trust::Name(read(authorities)?);
        let mut config = tls::client_config(trust, None)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls {
            connector: Arc::new(config).into(),
            name,
        })
    }

    /// Shakes hands.
    pub async fn over(&self, socket: Socket) -> io::Result<TlsStream<Socket>> {
        let stream = self.connector.connect(self.name.clone(), socket).await?;
        Ok(stream.into())
    }
}

fn read(file: Option<&Path>) -> Result<Authorities, TrustError> {
    let authorities = Authorities::read(file).map_err(|error| TrustError::File {
        file: file.map_or_else(String::new, |file| file.display().to_string()),
        error,
    })?;
    if authorities.is_empty() {
        return Err(TrustError::Nobody);
    }
    Ok(authorities)
}
