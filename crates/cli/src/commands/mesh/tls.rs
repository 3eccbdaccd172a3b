//! TLS settings of the mesh's control plane: what it shows, and whom its clients believe.

use std::sync::Arc;

use controller::mesh::control::Own;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// For a server with this certificate, which asks nobody for one: callers prove themselves by a token.
///
/// # Errors
///
/// Why the certificate cannot be used.
pub fn server(own: &Own, protocol: &[u8]) -> Result<Arc<ServerConfig>, String> {
    let chain = CertificateDer::pem_slice_iter(own.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| certs::PemProblem::from(error).to_string())?;
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes())
        .map_err(|error| certs::PemProblem::from(error).to_string())?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// For a client that believes who chains to one of these roots.
///
/// # Errors
///
/// When there is none that can be used.
pub fn client(roots: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(roots) {
        let der = der.map_err(|error| certs::PemProblem::from(error).to_string())?;
        store.add(der).map_err(|error| error.to_string())?;
    }
    if store.is_empty() {
        return Err("there are no trusted roots".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
