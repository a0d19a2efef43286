//! Whom a connection of ours believes.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};

/// The authorities in a PEM file, or without one the system's. There may be none.
///
/// # Errors
/// When the file cannot be read or is no PEM file.
pub fn roots(file: Option<&Path>) -> Result<RootCertStore, pem::Error> {
    let certificates = match file {
        Some(file) => CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>()?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}
