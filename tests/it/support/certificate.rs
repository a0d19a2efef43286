//! Certificates that vouch for themselves.

use std::{path::Path, process::Command};

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
