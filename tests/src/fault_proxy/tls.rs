//! Both ends of the proxy: a certificate for its clients, and trust in the API server's.

use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::control_plane::certificates::Authority;

/// The name by which clients come and the API server is asked for.
const LOOPBACK: &str = "127.0.0.1";

#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    pub(super) fn new(authority: &Authority) -> Result<Self> {
        crate::control_plane::install_crypto_provider();
        let credential = authority.issue_server("fault-proxy", vec![LOOPBACK.to_owned()])?;
        let chain = vec![certificate(&credential.certificate)?];
        let key = PrivateKeyDer::from_pem_slice(credential.key.as_bytes())
            .context("failed to read the proxy's key")?;
        let serving = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("failed to use the proxy's certificate")?;
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate(&authority.certificate())?)
            .context("failed to trust the authority")?;
        let asking = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(serving)),
            connector: TlsConnector::from(Arc::new(asking)),
        })
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> Result<server::TlsStream<TcpStream>> {
        Ok(self.acceptor.accept(stream).await?)
    }

    pub(super) async fn connect(&self, port: u16) -> Result<client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect((LOOPBACK, port)).await?;
        let name = ServerName::try_from(LOOPBACK)?;
        Ok(self.connector.connect(name, stream).await?)
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).context("failed to read a certificate")
}
