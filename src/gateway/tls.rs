//! TLS to the upstream: whom to believe that they are it.

use std::path::Path;

use rustls::pki_types::{InvalidDnsNameError, pem};

use crate::{
    net::client::TlsName,
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

/// Makes TLS to `host:port`; `authorities` is a PEM file in place of the system's.
///
/// # Errors
/// When there are none of them, or the host is no name.
pub fn to(address: &str, authorities: Option<&Path>) -> Result<TlsName, TrustError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let config = tls::client_config(Trust::Name(read(authorities)?), None)?;
    Ok(TlsName::new(host, config)?)
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
