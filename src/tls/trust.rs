//! The servers that our own connections trust, and our identity for them: as OpenSSL has it, which
//! Django's drivers use, where rustls alone is stricter.
//!
//! - A certificate that is listed byte for byte among the authorities is believed, although it may
//!   call itself an authority.
//! - A certificate without any alternative name is valid for the common name of its subject.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
};
use x509_cert::{Certificate, der::Decode};

use super::anybody::Anybody;

/// The check of a server's certificate.
pub enum Trust {
    /// Not at all: the connection is encrypted, and that is all.
    Anybody,
    /// An authority must have signed it, for whatever name.
    Chain(Authorities),
    /// An authority must have signed it, and for the server's name.
    Name(Authorities),
}

/// The certificates that others are believed by.
pub struct Authorities {
    store: RootCertStore,
    /// The certificates of a file.
    listed: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Returns the certificates in a PEM file, or without one the system's. There may be none.
    ///
    /// # Errors
    /// When the file cannot be read or is no PEM file.
    pub fn read(file: Option<&Path>) -> Result<Self, pem::Error> {
        let (certificates, listed) = match file {
            Some(file) => {
                let listed: Vec<_> =
                    CertificateDer::pem_file_iter(file)?.collect::<Result<_, _>>()?;
                (listed.clone(), listed)
            }
            None => (rustls_native_certs::load_native_certs().certs, Vec::new()),
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates);
        Ok(Authorities { store, listed })
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }
}

/// The certificate that we show to servers which ask for one, and its key.
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// Reads both from PEM files, which may be the same.
    ///
    /// # Errors
    /// A text that names the file.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        let about = |path: &Path, error: &pem::Error| format!("{}: {error}", path.display());
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| about(certificate, &error))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| about(key, &error))?;
        Ok(ClientIdentity { chain, key })
    }
}

/// Makes the client's side of TLS.
///
/// # Errors
/// When there is no authority to believe, or the identity's key is not that of its certificate.
pub fn client_config(
    trust: Trust,
    identity: Option<ClientIdentity>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anybody => Arc::new(Anybody::new(Arc::clone(&provider))),
        Trust::Chain(authorities) => Arc::new(Believer::new(authorities, false)?),
        Trust::Name(authorities) => Arc::new(Believer::new(authorities, true)?),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match identity {
        Some(ClientIdentity { chain, key }) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Believes who is signed by an authority or is listed among them.
#[derive(Debug)]
struct Believer {
    chain: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
    checks_name: bool,
}

impl Believer {
    fn new(authorities: Authorities, checks_name: bool) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let store = Arc::new(authorities.store);
        let chain = WebPkiServerVerifier::builder_with_provider(store, provider).build();
        Ok(Believer {
            chain: chain.map_err(|error| Error::General(error.to_string()))?,
            listed: authorities.listed,
            checks_name,
        })
    }

    /// Returns whether a certificate was refused for nothing but that it calls itself an authority,
    /// which is found after its dates, and is one of ours.
    fn is_listed(&self, certificate: &CertificateDer<'_>, error: &Error) -> bool {
        let Error::InvalidCertificate(CertificateError::Other(why)) = error else {
            return false;
        };
        why.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
            && self.listed.iter().any(|listed| listed == certificate)
    }
}

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = &self.chain;
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let verified = match verified {
            Err(error) if self.is_listed(end_entity, &error) => {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                verify_server_name(&certificate, server_name)
                    .map(|()| ServerCertVerified::assertion())
            }
            verified => verified,
        };
        match verified {
            // The name is looked at last, when all else has been found good.
            Err(error) if is_of_name(&error) => {
                if self.checks_name && !is_common_name(end_entity, server_name, &error) {
                    return Err(error);
                }
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn is_of_name(error: &Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(
        error,
        Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })
    )
}

/// Returns whether a certificate without alternative names has this one as its subject's common
/// name.
fn is_common_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>, error: &Error) -> bool {
    let (
        ServerName::DnsName(name),
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }),
    ) = (name, error)
    else {
        return false;
    };
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return false;
    };
    let subject = certificate.tbs_certificate.subject;
    let mut attributes = subject.0.iter().flat_map(|part| part.0.iter());
    presented.is_empty()
        && attributes.any(|attribute| {
            let attribute = attribute.to_string();
            let common = attribute.strip_prefix("CN=");
            common.is_some_and(|common| common.eq_ignore_ascii_case(name.as_ref()))
        })
}
