//! The operator's asker by itself, with Secrets and pods of an in-memory API server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use slipway_api::{RebootPolicySpec, names, validate_policy};
use slipway_client::clock;
use slipway_lab::fake_api::FakeApi;
use slipway_lab::secrets::make_secret;
use slipway_lab::wait::wait_until;
use slipway_operator::blockers::{AllowedUrl, Asker, Blockers};
use slipway_operator::metrics::Metrics;
use slipway_planner::blockers::Answer;
use slipway_planner::{Plan, PolicyView, Snapshot};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Within this an answer that a server gives at once is there.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(2);
/// How long a server may take to make up its mind.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

pub(crate) struct Bench {
    pub(crate) api: FakeApi,
    blockers: Blockers,
    wake: Arc<Notify>,
    asker: JoinHandle<()>,
    policies: AtomicUsize,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.asker.abort();
    }
}

impl Bench {
    pub(crate) fn start() -> Self {
        Self::allowing(Vec::new())
    }

    pub(crate) fn allowing(allowed: Vec<AllowedUrl>) -> Self {
        slipway_client::install_crypto_provider();
        let api = FakeApi::new(Arc::new(clock::wall), 1);
        let blockers = Blockers::new();
        let client = (api.client("slipway-operator"), names::NAMESPACE);
        let asker = Asker::new(
            blockers.clone(),
            client,
            allowed,
            Metrics::new(false).unwrap(),
        );
        let wake = Arc::new(Notify::new());
        let asker = tokio::spawn(asker.run(Arc::clone(&wake)));
        Self {
            api,
            blockers,
            wake,
            asker,
            policies: AtomicUsize::new(0),
        }
    }

    /// Makes a Secret in the operator's namespace.
    pub(crate) async fn secret(&self, name: &str, entries: &[(&str, &str)]) -> Result<()> {
        make_secret(self.api.client("admin"), name, entries).await
    }

    /// Asks a blocker, written as its kind in YAML, once; also tells how long that took.
    pub(crate) async fn ask(&self, kind: &str) -> Result<(Answer, Duration)> {
        let number = self.policies.fetch_add(1, Ordering::Relaxed);
        let yaml = format!("{{nodeSelector: {{}}, blockers: [{{name: it, {kind}}}]}}");
        let spec: RebootPolicySpec = serde_yaml::from_str(&yaml)?;
        let uid = format!("policy-{number}");
        let snapshot = Snapshot {
            policies: vec![PolicyView {
                name: "p".into(),
                uid: uid.clone(),
                generation: 1,
                parsed: Ok(validate_policy(&spec)?),
                spec,
                status: None,
                deleting: false,
            }],
            ..Snapshot::default()
        };
        let plan = Plan {
            ask: BTreeSet::from([uid.clone()]),
            ..Plan::default()
        };
        let begun = clock::boottime();
        self.blockers.want(&snapshot, &plan);
        let key = (uid, "it".to_owned());
        let waiting = async {
            loop {
                if let Some(answered) = self.blockers.answers().remove(&key) {
                    return answered.answer;
                }
                self.wake.notified().await;
            }
        };
        let answer = tokio::time::timeout(BOUND, waiting)
            .await
            .context("no answer at all")?;
        Ok((answer, clock::boottime().saturating_sub(begun)))
    }

    /// Asks until the server says what it should, then once more, which has to be quick.
    async fn settles(&self, kind: &str, is_it: impl Fn(&Answer) -> bool) -> Result<Answer> {
        wait_until(&format!("the expected answer of {kind}"), BOUND, || async {
            let (answer, _) = self.ask(kind).await?;
            ensure!(is_it(&answer), "it says {answer:?}");
            Ok(Some(()))
        })
        .await?;
        let (answer, took) = self.ask(kind).await?;
        ensure!(is_it(&answer), "now it says {answer:?}");
        ensure!(took < AT_ONCE, "the answer took {took:?}");
        Ok(answer)
    }

    pub(crate) async fn clear(&self, kind: &str) -> Result<()> {
        self.settles(kind, |answer| *answer == Answer::Clear)
            .await?;
        Ok(())
    }

    pub(crate) async fn blocks(&self, kind: &str, word: &str) -> Result<()> {
        let blocks = |answer: &Answer| matches!(answer, Answer::Blocks { message } if message.contains(word));
        self.settles(kind, blocks).await?;
        Ok(())
    }

    pub(crate) async fn fails(&self, kind: &str, word: &str) -> Result<()> {
        let fails = |answer: &Answer| matches!(answer, Answer::Failed { message } if message.contains(word));
        self.settles(kind, fails).await?;
        Ok(())
    }

    /// Asks once; the answer must be a failure of which the message holds the word.
    pub(crate) async fn fails_within(&self, kind: &str, word: &str, bound: Duration) -> Result<()> {
        let (answer, took) = self.ask(kind).await?;
        let Answer::Failed { message } = answer else {
            bail!("{kind} says {answer:?}");
        };
        ensure!(message.contains(word), "{kind} says {message:?}");
        ensure!(took < bound, "{kind} took {took:?}");
        Ok(())
    }
}
