//! HTTP to addresses that policies name: bounded in time and size, without redirects or proxies.
//!
//! Never shows what was answered: its body goes to the kind that asked, its troubles are sentences
//! of ours (faults.md F68, F89).

use std::str::FromStr;

use kube::Client;
use reqwest::{StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use slipway_api::policy::Endpoint;

use super::Trouble;
use super::credentials::Credentials;
use crate::reach::Unreached;

/// Largest answer that is read.
const ANSWER_MAX: usize = 1024 * 1024;

/// An address, below which all may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedUrl(Url);

impl FromStr for AllowedUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| format!("not an address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("write an address such as https://prometheus.monitoring.svc:9090".into());
        }
        Ok(Self(url))
    }
}

impl AllowedUrl {
    /// True when the address is this one or below it, by whole segments of its path.
    fn allows(&self, url: &Url) -> bool {
        let prefix = self.0.path().trim_end_matches('/');
        let below = url
            .path()
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.0.scheme() == url.scheme()
            && self.0.host() == url.host()
            && self.0.port_or_known_default() == url.port_or_known_default()
            && below
    }
}

/// Fetches.
pub(super) struct Fetcher {
    client: Client,
    namespace: String,
    allowed: Vec<AllowedUrl>,
}

/// An answer whose body fits.
pub(super) struct Fetched {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Fetched {
    /// The body as JSON, whatever it calls itself.
    pub(super) fn json<T: DeserializeOwned>(&self, of: &str) -> Result<T, Trouble> {
        serde_json::from_slice(&self.body)
            .map_err(|_| Trouble::new(format!("its answer is not that of {of}")))
    }

    /// Refuses every status but 2xx.
    pub(super) fn successful(self) -> Result<Self, Trouble> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(status_trouble(self.status))
    }
}

/// An HTTP status as a trouble.
pub(super) fn status_trouble(status: StatusCode) -> Trouble {
    let code = status.as_u16();
    Trouble::new(match code {
        300..=399 => format!("it answers {code}, and redirects are not followed"),
        401 => "it answers 401: the credentials are missing or wrong (credentialsRef)".to_owned(),
        403 => "it answers 403: the credentials do not allow this (credentialsRef)".to_owned(),
        404 => "it answers 404: there is nothing at this url".to_owned(),
        code => format!("it answers {code}"),
    })
}

impl Fetcher {
    pub(super) fn new(client: Client, namespace: &str, allowed: Vec<AllowedUrl>) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            allowed,
        }
    }

    /// Asks with GET; `path` is added to the endpoint's own, and `query` too.
    pub(super) async fn get(
        &self,
        endpoint: &Endpoint,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Fetched, Trouble> {
        let url = address(endpoint, path, query)?;
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed.allows(&url)) {
            return Err(Trouble::new(
                "url: the operator is not allowed to ask this address (--allow-url)",
            ));
        }
        let mut credentials = match &endpoint.credentials_ref {
            Some(reference) => Credentials::read(&self.client, &self.namespace, reference).await?,
            None => Credentials::default(),
        };
        let builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .timeout(endpoint.timeout.0)
            // Asked every few seconds: nothing is kept that a test or a move could find stale.
            .pool_max_idle_per_host(0);
        let client = credentials
            .connect(builder, url.scheme() == "https")
            .build()
            .map_err(|_| {
                Trouble::new(
                    "no connection can be made: there are no authorities to trust here; write ca.crt into the Secret (credentialsRef)",
                )
            })?;
        let request = credentials.authorise(client.get(url));
        let failed = |error: reqwest::Error| trouble(&error, endpoint);
        let mut response = request.send().await.map_err(failed)?;
        let too_large = || Trouble::new("its answer is larger than 1 MiB");
        let announced = response.content_length().unwrap_or_default();
        if usize::try_from(announced).unwrap_or(usize::MAX) > ANSWER_MAX {
            return Err(too_large());
        }
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { status, body })
    }
}

fn address(endpoint: &Endpoint, path: &[&str], query: &[(&str, &str)]) -> Result<Url, Trouble> {
    let bad = || Trouble::new("url: not an address");
    let mut url = Url::parse(&endpoint.url).map_err(|_| bad())?;
    if !path.is_empty() {
        let mut segments = url.path_segments_mut().map_err(|()| bad())?;
        segments.pop_if_empty().extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

/// Why no answer came.
fn trouble(error: &reqwest::Error, endpoint: &Endpoint) -> Trouble {
    if error.is_timeout() {
        return Trouble::new(format!("no answer within {}", endpoint.timeout));
    }
    Trouble::new(match Unreached::of(error) {
        Unreached::Refused => "the connection is refused",
        Unreached::Untrusted => {
            "its certificate is of an authority that is not trusted here (ca.crt of credentialsRef)"
        }
        Unreached::WrongName => "its certificate is for another name",
        Unreached::WantsCertificate => {
            "it asks for a client certificate (tls.crt and tls.key of credentialsRef)"
        }
        Unreached::NotValidNow => "its certificate is not valid now",
        Unreached::Tls => "no trusted connection can be made to it",
        Unreached::Unresolved => "its name cannot be resolved",
        Unreached::Failed => "the connection failed",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allowed: &str, url: &str) -> bool {
        let allowed: AllowedUrl = allowed.parse().unwrap();
        allowed.allows(&Url::parse(url).unwrap())
    }

    #[test]
    fn f89_an_allowed_address_allows_only_what_is_below_it() {
        let prometheus = "http://prometheus.monitoring.svc:9090";
        assert!(allows(
            prometheus,
            "http://prometheus.monitoring.svc:9090/api/v1/query?query=x"
        ));
        assert!(allows(
            "https://gate/reboots",
            "https://gate:443/reboots/now"
        ));
        for url in [
            "https://prometheus.monitoring.svc:9090/",
            "http://prometheus.monitoring.svc:9091/",
            "http://prometheus.monitoring.svc.evil:9090/",
            "http://169.254.169.254/",
        ] {
            assert!(!allows(prometheus, url), "{url}");
        }
        for url in [
            "https://gate/rebootsX",
            "https://gate/reboots/../x",
            "https://gate/reboots/%2e%2e/x",
        ] {
            assert!(!allows("https://gate/reboots", url), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_not_allowed() {
        for text in ["prometheus", "file:///etc/passwd", "ftp://x", "http://"] {
            assert!(text.parse::<AllowedUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn paths_and_queries_are_added_to_the_address() {
        let endpoint: Endpoint = serde_json::from_value(serde_json::json!({
            "url": "http://gate/prometheus/",
        }))
        .unwrap();
        let url = address(&endpoint, &["api", "v1", "query"], &[("query", "a b&c")]).unwrap();
        assert_eq!(
            url.as_str(),
            "http://gate/prometheus/api/v1/query?query=a+b%26c"
        );
    }
}
