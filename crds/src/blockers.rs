//! From blockers as written to rules that can be asked, and what is dangerous about them.
//!
//! Called by [`crate::validate`]; the operator asks, the planner judges.

use regex::bytes::{Regex, RegexBuilder};

use crate::policy::{
    AlertmanagerBlocker, Blocker, Endpoint, HttpBlocker, IGNORED_ALERTS, OnError, PATTERN_MAX,
    PodsBlocker, PrometheusBlocker, PromqlBlocker,
};
use crate::validate::{PolicyError, check_selector};
use crate::workload::Workload;

/// Largest compiled regular expression in bytes: a few alternatives of names need a tenth of it.
const PROGRAM_MAX: usize = 64 * 1024;
/// The alert that Slipway ships for nodes that wait, and its labels. What it blocks never ends.
const OWN_ALERT: &str = "RebootRequired";
const OWN_ALERT_SEVERITY: &str = "warning";
/// Words of a query that speak of what a waiting node causes.
const OWN_WORDS: [&str; 4] = [
    OWN_ALERT,
    "slipway_reboot_required",
    "kured_reboot_required",
    "slipway_nodes",
];

/// Name of the rule behind `spec.verify.promql`; no blocker can have it.
pub const VERIFY_QUERY: &str = "verify.promql";

/// A regular expression that was compiled within bounds. Classes are of ASCII, as label names are.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_MAX {
            return Err(format!("the expression is longer than {PATTERN_MAX} bytes"));
        }
        RegexBuilder::new(text)
            .unicode(false)
            .size_limit(PROGRAM_MAX)
            .dfa_size_limit(PROGRAM_MAX)
            .build()
            .map(Self)
            .map_err(|error| {
                let text = error.to_string();
                // The library draws the place of the mistake on lines of its own.
                let last = text.lines().last().unwrap_or_default();
                format!("not a regular expression: {last}")
            })
    }

    /// True when it is found anywhere in the text.
    pub fn is_found_in(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// Which alerts count, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertNames {
    /// These do not.
    pub ignore: Option<Pattern>,
    /// Only these do.
    pub only: Option<Pattern>,
}

impl AlertNames {
    fn new(ignore: &str, only: Option<&str>, at: &str) -> Result<Self, PolicyError> {
        let pattern = |text: &str, field: &str| {
            Pattern::new(text).map_err(|problem| PolicyError::InvalidBlocker {
                field: format!("{at}.{field}"),
                problem,
            })
        };
        // An empty expression is found in every name: it would ignore them all.
        let written = Some(ignore).filter(|text| !text.is_empty());
        Ok(Self {
            ignore: written.map(|text| pattern(text, "ignore")).transpose()?,
            only: only.map(|text| pattern(text, "only")).transpose()?,
        })
    }

    /// True when an alert of this name counts.
    pub fn count(&self, name: &str) -> bool {
        let found = |pattern: &Option<Pattern>| pattern.as_ref().map(|p| p.is_found_in(name));
        found(&self.only).unwrap_or(true) && !found(&self.ignore).unwrap_or(false)
    }
}

/// What a blocker asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// Alerts of a Prometheus.
    Prometheus {
        /// Where.
        endpoint: Endpoint,
        /// Which alerts count.
        alerts: AlertNames,
        /// Pending ones do not.
        firing_only: bool,
    },
    /// A query.
    Promql {
        /// Where.
        endpoint: Endpoint,
        /// The query.
        query: String,
    },
    /// Active alerts of an Alertmanager.
    Alertmanager {
        /// Where.
        endpoint: Endpoint,
        /// Which alerts are asked for.
        matchers: Vec<String>,
        /// Which of them count.
        alerts: AlertNames,
    },
    /// Pods that run.
    Pods(PodsBlocker),
    /// Nodes that are not Ready: the planner sees them itself, nobody is asked.
    Nodes {
        /// So many may be.
        max_not_ready: usize,
    },
    /// A URL.
    Http {
        /// Where.
        endpoint: Endpoint,
    },
    /// Owners of pods, which have to have their pods ready: no blocker of a policy, but asked alike.
    Workloads(Vec<Workload>),
}

impl Probe {
    /// Every kind, as metrics call it.
    pub const KINDS: [&str; 7] = [
        "prometheus",
        "promql",
        "alertmanager",
        "pods",
        "nodes",
        "http",
        "workloads",
    ];

    /// The kind, as the policy and metrics call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Prometheus { .. } => "prometheus",
            Self::Promql { .. } => "promql",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Pods(_) => "pods",
            Self::Nodes { .. } => "nodes",
            Self::Http { .. } => "http",
            Self::Workloads(_) => "workloads",
        }
    }

    /// Where it asks, if that is outside of the API server.
    pub const fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Prometheus { endpoint, .. }
            | Self::Promql { endpoint, .. }
            | Self::Alertmanager { endpoint, .. }
            | Self::Http { endpoint } => Some(endpoint),
            Self::Pods(_) | Self::Nodes { .. } | Self::Workloads(_) => None,
        }
    }
}

/// A blocker that can be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockerRule {
    /// Its name.
    pub name: String,
    /// What it asks.
    pub probe: Probe,
    /// What is dangerous about it, beginning with the field; shown and obeyed all the same.
    pub warning: Option<String>,
}

impl BlockerRule {
    /// True when nodes go although it could not be asked.
    pub fn allows_failure(&self) -> bool {
        self.probe
            .endpoint()
            .is_some_and(|endpoint| endpoint.on_error == OnError::Allow)
    }
}

/// Parses every blocker of a policy.
///
/// # Errors
/// The first field that cannot be obeyed.
pub fn parse(blockers: &[Blocker]) -> Result<Vec<BlockerRule>, PolicyError> {
    let rules = blockers.iter().enumerate();
    rules
        .map(|(index, blocker)| rule(&format!("spec.blockers[{index}]"), blocker))
        .collect()
}

/// The query of `spec.verify.promql` as a rule.
///
/// # Errors
/// What is wrong with its address.
pub fn verify_query(written: &PromqlBlocker) -> Result<BlockerRule, PolicyError> {
    let (probe, _) = query("spec.verify", written)?;
    Ok(BlockerRule {
        name: VERIFY_QUERY.to_owned(),
        probe,
        warning: None,
    })
}

fn rule(at: &str, blocker: &Blocker) -> Result<BlockerRule, PolicyError> {
    let Blocker {
        name,
        prometheus,
        promql,
        alertmanager,
        pods,
        nodes,
        http,
    } = blocker;
    let probes = [
        prometheus.as_ref().map(|written| alerts(at, written)),
        promql.as_ref().map(|written| query(at, written)),
        alertmanager.as_ref().map(|written| active(at, written)),
        pods.as_ref().map(|written| selected(at, written)),
        nodes.as_ref().map(|written| {
            let max_not_ready = usize::try_from(written.max_not_ready).unwrap_or(0);
            Ok((Probe::Nodes { max_not_ready }, None))
        }),
        http.as_ref().map(|written| url(at, written)),
    ];
    let mut probes = probes.into_iter().flatten();
    match (probes.next(), probes.next()) {
        (Some(probe), None) => {
            let (probe, warning) = probe?;
            Ok(BlockerRule {
                name: name.clone(),
                probe,
                warning,
            })
        }
        // The schema refuses it; an object stored before it did keeps nodes waiting.
        (None, _) | (Some(_), Some(_)) => Err(PolicyError::InvalidBlocker {
            field: at.to_owned(),
            problem: "write exactly one kind beside the name".to_owned(),
        }),
    }
}

type Parsed = Result<(Probe, Option<String>), PolicyError>;

fn alerts(at: &str, written: &PrometheusBlocker) -> Parsed {
    let at = format!("{at}.prometheus");
    check_base(&at, &written.endpoint)?;
    let alerts = AlertNames::new(&written.ignore, written.only.as_deref(), &at)?;
    let warning = alerts.count(OWN_ALERT).then(|| own_alert(&at));
    let probe = Probe::Prometheus {
        endpoint: written.endpoint.clone(),
        alerts,
        firing_only: written.firing_only,
    };
    Ok((probe, warning))
}

fn query(at: &str, written: &PromqlBlocker) -> Parsed {
    let at = format!("{at}.promql");
    check_base(&at, &written.endpoint)?;
    let query = &written.query;
    let every_alert = query.contains("ALERTS") && !query.contains("alertname");
    let own = every_alert || OWN_WORDS.iter().any(|word| query.contains(word));
    let probe = Probe::Promql {
        endpoint: written.endpoint.clone(),
        query: query.clone(),
    };
    let warning = own.then(|| {
        format!(
            "{at}.query can be answered because nodes wait for a reboot, which would then never come; leave alert {OWN_ALERT} and slipway's own metrics out of it"
        )
    });
    Ok((probe, warning))
}

fn active(at: &str, written: &AlertmanagerBlocker) -> Parsed {
    let at = format!("{at}.alertmanager");
    check_base(&at, &written.endpoint)?;
    let alerts = AlertNames::new(&written.ignore, None, &at)?;
    // Only what can be told without the server: another team's label on the alert is not known.
    let excluded = written.matchers.iter().any(|matcher| excludes_own(matcher));
    let warning = (alerts.count(OWN_ALERT) && !excluded).then(|| own_alert(&at));
    let probe = Probe::Alertmanager {
        endpoint: written.endpoint.clone(),
        matchers: written.matchers.clone(),
        alerts,
    };
    Ok((probe, warning))
}

fn selected(at: &str, written: &PodsBlocker) -> Parsed {
    check_selector(&written.selector).map_err(|error| PolicyError::InvalidBlocker {
        field: format!("{at}.pods.selector"),
        problem: error
            .to_string()
            .trim_start_matches("spec.nodeSelector: ")
            .to_owned(),
    })?;
    Ok((Probe::Pods(written.clone()), None))
}

fn url(at: &str, written: &HttpBlocker) -> Parsed {
    check_url(&format!("{at}.http"), &written.endpoint)?;
    let endpoint = written.endpoint.clone();
    Ok((Probe::Http { endpoint }, None))
}

fn own_alert(at: &str) -> String {
    format!(
        "{at}.ignore does not cover Slipway's own alert {OWN_ALERT}, which fires because nodes wait: they would wait for ever; write {IGNORED_ALERTS} or leave ignore out"
    )
}

/// True when a matcher on the name or severity of an alert does not match Slipway's own.
fn excludes_own(matcher: &str) -> bool {
    let (label, own) = match matcher.split(['=', '!']).next() {
        Some("alertname") => ("alertname", OWN_ALERT),
        Some("severity") => ("severity", OWN_ALERT_SEVERITY),
        _ => return false,
    };
    let rest = matcher.strip_prefix(label).unwrap_or_default();
    let value = |operator: &str| {
        rest.strip_prefix(operator)
            .map(|value| value.trim_matches('"'))
    };
    // Alertmanager anchors its expressions at both ends.
    let covers = |pattern: &str| {
        Pattern::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_found_in(own))
    };
    if let Some(pattern) = value("=~") {
        return !covers(pattern);
    }
    if let Some(pattern) = value("!~") {
        return covers(pattern);
    }
    if let Some(other) = value("!=") {
        return other == own;
    }
    value("=").is_some_and(|other| other != own)
}

/// An address that paths are added to.
fn check_base(at: &str, endpoint: &Endpoint) -> Result<(), PolicyError> {
    check_url(at, endpoint)?;
    if endpoint.url.contains('?') {
        return Err(PolicyError::InvalidBlocker {
            field: format!("{at}.url"),
            problem: "the address has a query; write the server's own address".to_owned(),
        });
    }
    Ok(())
}

fn check_url(at: &str, endpoint: &Endpoint) -> Result<(), PolicyError> {
    let url = &endpoint.url;
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .and_then(|rest| rest.split('/').next());
    let sound = host.is_some_and(|host| !host.is_empty())
        && !url.contains(['@', '#'])
        && !url.contains(char::is_whitespace);
    if sound {
        return Ok(());
    }
    Err(PolicyError::InvalidBlocker {
        field: format!("{at}.url"),
        problem: "write an address such as https://prometheus.monitoring.svc:9090".to_owned(),
    })
}

#[cfg(test)]
#[path = "blockers_tests.rs"]
mod tests;
