//! Whether the admission policies that bound our identities are in force (faults.md F80).
//!
//! Without them an agent's token could write any Node, and a person could hand out grants. They are
//! read ([`look`]) and made to refuse ([`probe`]): at start, after each gain of leadership, before
//! each grant, and every ten minutes. Until all of that is proved, and from the moment on at which
//! it is not, nothing is granted, and the gap says which policy is missing and how that is known.

mod look;
mod probe;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use slipway_client::call::CallError;
use slipway_client::clock;
use slipway_planner::Gap;
use tokio::sync::Notify;

use super::trouble::Trouble;

/// The policies of the chart, each bound under its own name; a test compares them with the chart.
pub const POLICIES: &[&str] = &[
    "slipway-agent-lease-status",
    "slipway-agent-node",
    "slipway-operator-node",
    "slipway-lease-status",
    "slipway-lease-spec",
    "slipway-lease-delete",
    "slipway-lease-delete-slot",
    "slipway-ledger",
];

/// How often they are looked at while all is well.
const PERIOD: Duration = Duration::from_mins(10);
/// How soon after something was missing: an installation is under way, most likely. Doubles up to
/// [`PERIOD_MISSING_MAX`].
const PERIOD_MISSING: Duration = Duration::from_secs(1);
/// See [`PERIOD_MISSING`].
const PERIOD_MISSING_MAX: Duration = Duration::from_secs(30);
/// How old a proof may be that a grant rests on: several grants of one pass share it.
const FRESH: Duration = Duration::from_secs(2);

/// How often is tried what meets a conflict.
const TRIES: usize = 3;

/// A policy that is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    policy: String,
    why: String,
}

impl Missing {
    fn new(policy: &str, why: &str) -> Self {
        Self {
            policy: policy.to_owned(),
            why: why.to_owned(),
        }
    }
}

/// What is known.
#[derive(Debug, Default)]
struct Known {
    /// `None` before the first complete look, and after a gain of leadership.
    missing: Option<Vec<Missing>>,
    /// Why the last look was not complete.
    trouble: Option<Trouble>,
    /// When the look began that `missing` is from.
    looked_at: Duration,
    /// Looks that began earlier count for nothing.
    not_before: Duration,
}

/// The state of the policies, shared by the looks, the passes, the grants and /readyz.
#[derive(Debug)]
pub(crate) struct Admission {
    required: bool,
    known: Mutex<Known>,
    /// Rings when it is to be looked at now.
    again: Notify,
}

impl Admission {
    pub(crate) fn new(required: bool) -> Arc<Self> {
        Arc::new(Self {
            required,
            known: Mutex::default(),
            again: Notify::new(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gaps that this leaves.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        if !self.required {
            return Vec::new();
        }
        let known = self.known();
        match &known.missing {
            None => vec![Gap::AdmissionUnknown {
                why: unknown(&known),
            }],
            Some(missing) => missing
                .iter()
                .map(|one| Gap::AdmissionMissing {
                    policy: one.policy.clone(),
                    why: one.why.clone(),
                })
                .collect(),
        }
    }

    /// What is pending for /readyz, if something is.
    pub(crate) fn pending(&self) -> Option<String> {
        let gaps: Vec<String> = self.gaps().iter().map(Gap::to_string).collect();
        (!gaps.is_empty()).then(|| format!("admission policies: {}", gaps.join("; ")))
    }

    /// Forgets what is known and has it looked at anew: what another leader's time proved is its own.
    pub(crate) fn forget(&self) {
        let mut known = self.known();
        known.missing = None;
        known.not_before = clock::boottime();
        self.again.notify_one();
    }

    /// Looks again and again, for ever.
    pub(crate) async fn follow(self: Arc<Self>, client: Client, wake: Arc<Notify>) {
        if !self.required {
            return std::future::pending().await;
        }
        let mut retry = PERIOD_MISSING;
        loop {
            let proved = self.prove(&client).await;
            wake.notify_one();
            let pause = if proved {
                retry = PERIOD_MISSING;
                PERIOD
            } else {
                let pause = retry;
                retry = (retry * 2).min(PERIOD_MISSING_MAX);
                pause
            };
            tokio::select! {
                biased;
                () = self.again.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// True when everything is proved now, or was a moment ago. A grant rests on this.
    pub(crate) async fn holds(&self, client: &Client) -> bool {
        if !self.required {
            return true;
        }
        let fresh = |known: &Known| {
            let age = clock::boottime().saturating_sub(known.looked_at);
            known.missing.as_ref().is_some_and(Vec::is_empty) && age < FRESH
        };
        if fresh(&self.known()) {
            return true;
        }
        let proved = self.prove(client).await;
        if !proved {
            self.again.notify_one();
        }
        proved
    }

    /// One look; true when everything is proved.
    async fn prove(&self, client: &Client) -> bool {
        let began = clock::boottime();
        match prove(client).await {
            Ok(missing) => self.note(missing, began),
            Err(error) => {
                self.failed(Trouble::of_call(&error));
                false
            }
        }
    }

    /// What was known stays: an API server that is away proves nothing. Told on change only.
    fn failed(&self, trouble: Trouble) {
        let mut known = self.known();
        if known.trouble.as_ref().map(|noted| noted.kind) != Some(trouble.kind) {
            tracing::warn!(%trouble, "cannot look at the admission policies");
        }
        known.trouble = Some(trouble);
    }

    fn note(&self, missing: Vec<Missing>, began: Duration) -> bool {
        let mut known = self.known();
        known.trouble = None;
        if began < known.not_before {
            return false;
        }
        let proved = missing.is_empty();
        if known.missing.as_ref() != Some(&missing) {
            if proved {
                tracing::info!("the admission policies are in force");
            } else {
                tracing::error!(
                    ?missing,
                    "admission policies are not in force; nothing is granted"
                );
            }
            known.missing = Some(missing);
        }
        known.looked_at = began;
        proved
    }
}

fn unknown(known: &Known) -> String {
    known
        .trouble
        .as_ref()
        .map_or_else(|| "not looked at yet".to_owned(), ToString::to_string)
}

async fn prove(client: &Client) -> Result<Vec<Missing>, CallError> {
    let mut missing = look::look(client).await?;
    let mut found = probe::probe(client).await;
    // What was tried rested on an object that has changed since: no answer, and soon there is one.
    for _ in 1..TRIES {
        if !found.as_ref().is_err_and(CallError::is_conflict) {
            break;
        }
        found = probe::probe(client).await;
    }
    for found in found? {
        // What is known by reading says more.
        if !missing.iter().any(|other| other.policy == found.policy) {
            missing.push(found);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> Vec<Missing> {
        vec![Missing::new("p", "nothing binds it")]
    }

    #[test]
    fn f80_before_the_first_look_and_while_one_is_missing_there_is_a_gap() {
        let admission = Admission::new(true);
        let unknown = admission.gaps();
        assert!(matches!(unknown.as_slice(), [Gap::AdmissionUnknown { .. }]));
        assert!(admission.pending().unwrap().contains("not looked at yet"));
        assert!(!admission.note(missing(), Duration::ZERO));
        let (policy, why) = ("p".to_owned(), "nothing binds it".to_owned());
        assert_eq!(admission.gaps(), [Gap::AdmissionMissing { policy, why }]);
        assert!(admission.pending().unwrap().contains("nothing binds it"));
        assert!(admission.note(Vec::new(), Duration::ZERO));
        assert_eq!(admission.gaps(), []);
        assert_eq!(admission.pending(), None);
        assert_eq!(Admission::new(false).gaps(), []);
        assert_eq!(Admission::new(false).pending(), None);
    }

    #[test]
    fn f80_what_was_proved_before_leadership_was_gained_counts_for_nothing() {
        let admission = Admission::new(true);
        let before = clock::boottime();
        assert!(admission.note(Vec::new(), before));
        admission.forget();
        let known = |admission: &Admission| admission.known().missing.clone();
        assert_eq!(known(&admission), None);
        // A look that was under way at that moment.
        assert!(!admission.note(Vec::new(), before));
        assert_eq!(known(&admission), None);
        assert!(admission.note(Vec::new(), clock::boottime()));
        assert_eq!(admission.gaps(), []);
    }

    #[test]
    fn the_policies_looked_for_are_those_of_the_chart() {
        let chart = "../charts/slipway/templates";
        let mut shipped = Vec::new();
        for file in std::fs::read_dir(chart).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for document in text.split("\n---").filter(|part| {
                part.contains("kind: ValidatingAdmissionPolicy\n")
                    // Those of the fallback are there only on old servers.
                    && !part.contains("fallback")
            }) {
                let name = document
                    .lines()
                    .find_map(|line| line.strip_prefix("  name: "));
                shipped.push(name.unwrap().to_owned());
            }
        }
        shipped.sort();
        let mut expected = POLICIES.to_vec();
        expected.sort_unstable();
        assert_eq!(shipped, expected);
    }
}
