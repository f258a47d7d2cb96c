//! As whom a blocker is asked: a Secret of our own namespace, read for each question and never kept.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, ClientBuilder, Identity, RequestBuilder};
use slipway_api::policy::CredentialsRef;
use slipway_client::call::CallError;

use super::Trouble;
use crate::observe::read;

/// Largest value that is taken for a credential.
const VALUE_MAX: usize = 64 * 1024;

/// What a Secret holds. Shows nothing of it.
#[derive(Default)]
pub(super) struct Credentials {
    header: Option<HeaderValue>,
    basic: Option<(String, String)>,
    identity: Option<Identity>,
    authorities: Vec<Certificate>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(..)")
    }
}

impl Credentials {
    /// Reads the Secret.
    pub(super) async fn read(
        client: &Client,
        namespace: &str,
        reference: &CredentialsRef,
    ) -> Result<Self, Trouble> {
        let name = &reference.secret;
        let trouble = |why: &str| Trouble::new(format!("credentialsRef: Secret {name} {why}"));
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        match read::get(&api, name, "read the credentials of a blocker").await {
            Ok(Some(secret)) => Self::of(&secret).map_err(|why| trouble(&why)),
            Ok(None) => Err(trouble(&format!("does not exist in {namespace}"))),
            Err(error) => Err(trouble(&format!(
                "cannot be read ({})",
                CallError::class(&error).as_str()
            ))),
        }
    }

    /// Takes the keys that are known; the errors name keys and never values.
    fn of(secret: &Secret) -> Result<Self, String> {
        let data = secret.data.as_ref();
        let value = |key: &str| -> Result<Option<&[u8]>, String> {
            match data.and_then(|data| data.get(key)) {
                Some(value) if value.0.len() > VALUE_MAX => Err(format!("holds too much in {key}")),
                value => Ok(value.map(|value| value.0.as_slice())),
            }
        };
        let text = |key: &str| -> Result<Option<String>, String> {
            let Some(bytes) = value(key)? else {
                return Ok(None);
            };
            // Files end with a line break, and Secrets are made from files.
            let text = std::str::from_utf8(bytes).map_err(|_| format!("holds no text in {key}"))?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        };
        let mut credentials = Self::default();
        if let Some(token) = text("token")? {
            let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| "holds no bearer token in token".to_owned())?;
            header.set_sensitive(true);
            credentials.header = Some(header);
        }
        credentials.basic = match (text("username")?, text("password")?) {
            (Some(username), password) => Some((username, password.unwrap_or_default())),
            (None, Some(_)) => return Err("holds a password and no username".to_owned()),
            (None, None) => None,
        };
        if credentials.header.is_some() && credentials.basic.is_some() {
            return Err("holds both token and username; keep one".to_owned());
        }
        credentials.identity = match (value("tls.crt")?, value("tls.key")?) {
            (Some(certificate), Some(key)) => {
                let pem = [certificate, b"\n", key].concat();
                let identity = Identity::from_pem(&pem)
                    .map_err(|_| "holds no certificate and key in tls.crt and tls.key")?;
                Some(identity)
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err("holds one of tls.crt and tls.key; both are needed".to_owned());
            }
        };
        if let Some(authorities) = value("ca.crt")? {
            credentials.authorities = Certificate::from_pem_bundle(authorities)
                .ok()
                .filter(|all| !all.is_empty())
                .ok_or("holds no certificates in ca.crt")?;
        }
        let empty = credentials.header.is_none()
            && credentials.basic.is_none()
            && credentials.identity.is_none()
            && credentials.authorities.is_empty();
        if empty {
            return Err(
                "holds none of token, username, tls.crt with tls.key, and ca.crt".to_owned(),
            );
        }
        Ok(credentials)
    }

    /// Makes connections with them.
    pub(super) fn connect(&mut self, mut builder: ClientBuilder, is_tls: bool) -> ClientBuilder {
        let authorities = std::mem::take(&mut self.authorities);
        // Without TLS, the system's authorities are not looked for: an image may have none.
        if !authorities.is_empty() || !is_tls {
            builder = builder.tls_certs_only(authorities);
        }
        match self.identity.take() {
            Some(identity) if is_tls => builder.identity(identity),
            Some(_) | None => builder,
        }
    }

    /// Adds them to a request.
    pub(super) fn authorise(&self, mut request: RequestBuilder) -> RequestBuilder {
        if let Some(header) = &self.header {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, header.clone())]);
            request = request.headers(headers);
        }
        match &self.basic {
            Some((username, password)) => request.basic_auth(username, Some(password)),
            None => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let data = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn a_secret_that_is_no_credential_is_told_by_its_keys_alone() {
        let long = "x".repeat(VALUE_MAX + 1);
        for (entries, word) in [
            (vec![], "none of"),
            (vec![("password", "hush")], "no username"),
            (vec![("token", "hush"), ("username", "u")], "keep one"),
            (vec![("token", "hush\nhush")], "token"),
            (vec![("tls.crt", "hush")], "both are needed"),
            (vec![("tls.crt", "hush"), ("tls.key", "hush")], "tls.crt"),
            (vec![("ca.crt", "hush")], "ca.crt"),
            (vec![("token", long.as_str())], "too much"),
        ] {
            let why = Credentials::of(&secret(&entries)).unwrap_err();
            assert!(why.contains(word), "{entries:?}: {why}");
            assert!(!why.contains("hush"), "{why}");
        }
    }

    #[test]
    fn credentials_show_nothing() {
        let read = Credentials::of(&secret(&[("username", "user"), ("password", "hush\n")]));
        let read = read.unwrap();
        assert_eq!(read.basic, Some(("user".to_owned(), "hush".to_owned())));
        assert_eq!(format!("{read:?}"), "Credentials(..)");
        let read = Credentials::of(&secret(&[("token", "hush\n")])).unwrap();
        assert!(!format!("{:?}", read.header).contains("hush"));
    }
}
