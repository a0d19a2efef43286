//! `[server.tls]`: HTTPS without a proxy in front.

use std::path::Path;

use super::declare::settings;

settings! {
    /// TLS 1.2 and 1.3 on `server.bind`, if both files are named. SIGHUP reads them again; files
    /// that are no good change nothing and are logged.
    pub struct Tls in "server.tls" {
        /// PEM file with the certificate and, after it, those that lead to the authority.
        cert: Option<String> = "",
        /// PEM file with the private key of the certificate.
        key: Option<String> = "",
    }
}

impl Tls {
    /// Returns the files of certificate and key, if connections are encrypted.
    #[must_use]
    pub fn files(&self) -> Option<(&Path, &Path)> {
        Some((
            Path::new(self.cert.as_ref()?),
            Path::new(self.key.as_ref()?),
        ))
    }

    /// Returns whether only one of the two files is named.
    pub(super) fn is_half(&self) -> bool {
        self.cert.is_some() != self.key.is_some()
    }
}
