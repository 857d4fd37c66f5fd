//! TLS for the listener.

use std::error::Error;
use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// A certificate and its key, for [`Listener::tls`](crate::Listener::tls): TLS 1.2 and 1.3, HTTP/1.1.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate chain, the server's own certificate first, and the private key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    ///
    /// [`TlsError`] if there is no certificate or no key, if they aren't PEM, or if they don't belong together.
    pub fn from_pem(cert_chain: &[u8], private_key: &[u8]) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(cert_chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsError::new("the certificate chain can't be read", error))?;
        if chain.is_empty() {
            return Err(TlsError::new("the certificate chain is empty", "no PEM section"));
        }
        let key = PrivateKeyDer::from_pem_slice(private_key)
            .map_err(|error| TlsError::new("the private key can't be read", error))?;
        // The provider is named: a process-wide default would be the embedder's to choose.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| TlsError::new("the certificate can't be used", error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

/// A certificate or key that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TlsError {
    what: &'static str,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl TlsError {
    fn new(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            what,
            source: source.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        assert!(Tls::from_pem(cert.as_bytes(), key.as_bytes()).is_ok());
        let wrong = [
            ("", key.as_str()),
            ("garbage", key.as_str()),
            (cert.as_str(), ""),
            (cert.as_str(), cert.as_str()),
            (cert.as_str(), &other.signing_key.serialize_pem()),
        ];
        for (cert, key) in wrong {
            let error = Tls::from_pem(cert.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(error.source().is_some(), "{error}");
        }
    }
}
