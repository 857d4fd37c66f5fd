//! Whom TLS trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_nats::rustls::crypto::ring;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{ClientConfig, RootCertStore};

use crate::builder::InvalidSetting;

/// Made here even where no TLS is asked for, since a server may ask for it; and with the provider named, since a process-wide
/// default is the embedder's to choose, and async-nats would panic without one.
pub(crate) fn config(
    ca_file: Option<&Path>,
    client: Option<&(PathBuf, PathBuf)>,
) -> Result<ClientConfig, InvalidSetting> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| wrong(path, error))?;
            }
        }
        // Of those that the system has, some may be older than what is understood here.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidSetting::new(format!("TLS can't be used: {error}")))?
        .with_root_certificates(roots);
    let Some((chain, key)) = client else {
        return Ok(config.with_no_client_auth());
    };
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
    config
        .with_client_auth_cert(certificates(chain)?, private_key)
        .map_err(|error| wrong(chain, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, InvalidSetting> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(path, error))?;
    let found = found
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(path, error))?;
    if found.is_empty() {
        return Err(wrong(path, "it holds no certificate"));
    }
    Ok(found)
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> InvalidSetting {
    InvalidSetting::new(format!("{} can't be used for TLS: {why}", path.display()))
}
