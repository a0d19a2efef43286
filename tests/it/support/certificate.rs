//! Certificates that vouch for themselves, or that a private authority vouches for.

use std::{path::Path, process::Command, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// Makes a certificate for 127.0.0.1, in `cert.pem` and `key.pem` of the directory; `false` without
/// an OpenSSL to make it.
pub fn certify(directory: &Path) -> bool {
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(directory);
    openssl.output().is_ok_and(|output| output.status.success())
}

/// Makes a certificate for `localhost` that is its own authority, as `openssl req -x509` does unless
/// it is stopped.
pub fn certify_itself(directory: &Path) -> bool {
    self_signed(directory, &["-addext", "subjectAltName=DNS:localhost"])
}

/// The same with no other name than the common one.
pub fn certify_common_name(directory: &Path) -> bool {
    self_signed(directory, &[])
}

fn self_signed(directory: &Path, names: &[&str]) -> bool {
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", "/CN=localhost"])
        .args(names)
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(directory);
    openssl.output().is_ok_and(|output| output.status.success())
}

/// Makes an authority in `ca.pem`, and in `cert.pem` and `key.pem` what it certifies for 127.0.0.1;
/// `false` without an OpenSSL that can.
pub fn certify_by_authority(directory: &Path) -> bool {
    certify_by(directory, &["-addext", "subjectAltName=IP:127.0.0.1"])
}

/// The same without any name that a client could look for, as database servers make theirs.
pub fn certify_without_names(directory: &Path) -> bool {
    certify_by(directory, &[])
}

fn certify_by(directory: &Path, names: &[&str]) -> bool {
    let openssl = |arguments: &[&str]| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(arguments)
            .current_dir(directory)
            .output();
        made.is_ok_and(|made| made.status.success())
    };
    openssl(&[
        "-subj",
        "/CN=authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ]) && openssl(
        &[
            &[
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-subj",
                "/CN=server",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
            ],
            names,
        ]
        .concat(),
    )
}

/// A server's side of the handshake with the certificate in this directory.
pub fn acceptor(directory: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(directory.join("cert.pem"));
    let chain = chain.unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(directory.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
