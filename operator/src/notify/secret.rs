//! The Secret that a notification names: read for each attempt and never kept.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use slipway_api::policy::SecretKeyRef;
use slipway_client::call::CallError;

use super::{Trouble, TroubleKind};
use crate::observe::read;

/// Key of the authorities to trust for the target.
const AUTHORITIES: &str = "ca.crt";
/// Largest value that is taken.
const VALUE_MAX: usize = 64 * 1024;

/// What the Secret holds. Shows nothing of it.
pub(super) struct Held {
    pub(super) url: String,
    /// PEM.
    pub(super) authorities: Option<Vec<u8>>,
    /// The Secret's resourceVersion: another one is worth another try.
    pub(super) version: String,
}

/// Reads the Secret.
pub(super) async fn held(
    client: &Client,
    namespace: &str,
    reference: &SecretKeyRef,
) -> Result<Held, Trouble> {
    let name = &reference.name;
    let trouble = |why: String| Trouble::new(TroubleKind::Secret, format!("Secret {name} {why}"));
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    match read::get(&api, name, "read the Secret of a notification").await {
        Ok(Some(secret)) => of(&secret, &reference.key).map_err(trouble),
        Ok(None) => Err(trouble(format!("does not exist in {namespace}"))),
        Err(error) => {
            let class = CallError::class(&error).as_str();
            Err(trouble(format!("cannot be read ({class})")))
        }
    }
}

fn of(secret: &Secret, key: &str) -> Result<Held, String> {
    let data = secret.data.as_ref();
    let value = |key: &str| -> Result<Option<&[u8]>, String> {
        match data.and_then(|data| data.get(key)) {
            Some(value) if value.0.len() > VALUE_MAX => Err(format!("holds too much in {key}")),
            value => Ok(value.map(|value| value.0.as_slice())),
        }
    };
    let url = value(key)?.ok_or_else(|| format!("has no key {key}"))?;
    let url = std::str::from_utf8(url).map_err(|_| format!("holds no text in {key}"))?;
    Ok(Held {
        url: url.to_owned(),
        authorities: value(AUTHORITIES)?.map(<[u8]>::to_vec),
        version: secret.metadata.resource_version.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn a_secret_that_holds_no_url_is_told_by_its_keys_alone() {
        let secret = |entries: &[(&str, &[u8])]| Secret {
            data: Some(
                entries
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())))
                    .collect(),
            ),
            ..Secret::default()
        };
        let long = vec![b'x'; VALUE_MAX + 1];
        for (held, word) in [
            (secret(&[("other", b"hush")]), "has no key url"),
            (secret(&[("url", b"hush\xff")]), "holds no text in url"),
            (secret(&[("url", &long)]), "holds too much in url"),
            (
                secret(&[("url", b"hush"), ("ca.crt", &long)]),
                "too much in ca.crt",
            ),
            (Secret::default(), "has no key url"),
        ] {
            let why = of(&held, "url").err().unwrap();
            assert!(why.contains(word) && !why.contains("hush"), "{why}");
        }
    }
}
