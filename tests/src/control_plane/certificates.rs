//! The control plane's own certificate authority.
//!
//! Owns its key, and issues the certificates of servers and clients. Files are the caller's.

use anyhow::{Context, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// The object identifier of the attribute "organization": how a second group is written, because
/// rcgen keeps one value for each attribute *type*.
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// A certificate and its key, both in PEM.
#[derive(Clone)]
pub struct Credential {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS #8).
    pub key: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credential").finish_non_exhaustive()
    }
}

/// A certificate authority made for one control plane.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority with a key of its own.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "lab-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().context("failed to generate the key of the authority")?;
        let issuer = CertifiedIssuer::self_signed(params, key)
            .context("failed to sign the authority's certificate")?;
        Ok(Self { issuer })
    }

    /// The authority's certificate in PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a server certificate for names and addresses.
    pub fn issue_server(&self, name: &str, alternatives: Vec<String>) -> Result<Credential> {
        let mut params = CertificateParams::new(alternatives)
            .with_context(|| format!("failed to read the names of {name}"))?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// Issues a client certificate: the user is the common name, groups are organizations.
    pub fn issue_client(&self, user: &str, groups: &[&str]) -> Result<Credential> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        let attributes = [
            DnType::OrganizationName,
            DnType::CustomDnType(ORGANIZATION.to_vec()),
        ];
        if groups.len() > attributes.len() {
            bail!(
                "{user}: a certificate of the lab holds {} groups at most",
                attributes.len()
            );
        }
        for (attribute, group) in attributes.into_iter().zip(groups) {
            params.distinguished_name.push(attribute, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Credential> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("failed to generate a key")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("failed to sign a certificate")?;
        Ok(Credential {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// Makes the key pair that signs service account tokens: (private, public), both in PEM.
pub fn service_account_keys() -> Result<(String, String)> {
    let key = KeyPair::generate().context("failed to generate the ServiceAccount key")?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}
