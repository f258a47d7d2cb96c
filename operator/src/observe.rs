//! Observe: watches and quorum reads become one [`Snapshot`], with what is missing as `gaps`.
//!
//! Owns every read. Never writes and decides nothing. Before every kind has been listed once there
//! is no snapshot at all: half a cluster looks like one whose policies were deleted.

mod admission;
mod cache;
mod convert;
pub(crate) mod fresh;
mod gone;
pub(crate) mod read;
pub mod trouble;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::watcher;
use kube::{Api, Client};
use slipway_api::{RebootLease, RebootLedger, RebootPolicy, Slot, names};
use slipway_client::call::ErrorClass;
use slipway_client::{chain, clock, server_time};
use slipway_planner::objects::{self, AgentPod};
use slipway_planner::{Gap, LedgerState, NodeView, Snapshot, budget};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::blockers::Blockers;
use crate::metrics::Metrics;
use crate::runtime::named;
pub(crate) use admission::Admission;
pub use admission::POLICIES as ADMISSION_POLICIES;
use cache::Decoded;
use convert::LedgerVersion;
use gone::Gone;
use watch::{Watched, follow};

pub(crate) use slipway_planner::objects::{node as node_view, policy_view};

/// How far this machine's clock and the API server's may differ, in seconds (faults.md F17): the
/// second key is compared with the API server's time, windows with ours.
const CLOCK_SKEW_MAX: i64 = 60;

/// Everything that is watched, shared with /readyz.
#[derive(Clone, Debug)]
pub struct Watches {
    nodes: Arc<Watched<NodeView>>,
    policies: Arc<Watched<RebootPolicy>>,
    leases: Arc<Watched<RebootLease>>,
    ledger: Arc<Watched<LedgerVersion>>,
    agents: Arc<Watched<AgentPod>>,
    admission: Arc<Admission>,
}

impl Watches {
    /// Nothing seen yet.
    pub fn new(require_admission_policies: bool) -> Self {
        Self {
            nodes: Watched::new("Nodes"),
            policies: Watched::new("RebootPolicies"),
            leases: Watched::new("RebootLeases"),
            ledger: Watched::new("RebootLedgers"),
            agents: Watched::new("agent Pods"),
            admission: Admission::new(require_admission_policies),
        }
    }

    /// Starts every watch; none of the tasks ever ends.
    pub fn start(
        &self,
        tasks: &mut JoinSet<&'static str>,
        (client, namespace): (&Client, &str),
        wake: &Arc<Notify>,
        metrics: &Metrics,
    ) {
        let any = watcher::Config::default();
        let ours = format!("{}={}", names::LABEL_COMPONENT, names::COMPONENT_AGENT);
        let agents = watcher::Config::default().labels(&ours);
        let all = || Api::all(client.clone());
        let pods = Api::namespaced(client.clone(), namespace);
        let shared = || (Arc::clone(wake), metrics.clone());
        let nodes = follow::<Node, _>(
            Arc::clone(&self.nodes),
            all(),
            any.clone(),
            objects::node,
            shared(),
        );
        let policies = follow::<RebootPolicy, _>(
            Arc::clone(&self.policies),
            Api::all(client.clone()),
            any.clone(),
            convert::policy,
            shared(),
        );
        let leases = follow::<RebootLease, _>(
            Arc::clone(&self.leases),
            Api::all(client.clone()),
            any.clone(),
            convert::lease,
            shared(),
        );
        let ledger = follow::<RebootLedger, _>(
            Arc::clone(&self.ledger),
            Api::all(client.clone()),
            any,
            convert::ledger,
            shared(),
        );
        let agents = follow::<Pod, _>(
            Arc::clone(&self.agents),
            pods,
            agents,
            objects::agent_pod,
            shared(),
        );
        let admission = Arc::clone(&self.admission).follow(client.clone(), Arc::clone(wake));
        tasks.spawn(named("the watch of Nodes", nodes));
        tasks.spawn(named("the watch of RebootPolicies", policies));
        tasks.spawn(named("the watch of RebootLeases", leases));
        tasks.spawn(named("the watch of RebootLedgers", ledger));
        tasks.spawn(named("the watch of agent Pods", agents));
        tasks.spawn(named("the look at admission policies", admission));
    }

    /// The state of the admission policies.
    pub(crate) fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.admission)
    }

    /// What is pending before the cluster can be seen and anything can be granted.
    pub fn pending(&self) -> Vec<String> {
        let now = clock::boottime();
        [
            self.nodes.pending(now),
            self.policies.pending(now),
            self.leases.pending(now),
            self.ledger.pending(now),
            self.agents.pending(now),
            self.admission.pending(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn are_synced(&self) -> bool {
        self.nodes.cache.is_synced()
            && self.policies.cache.is_synced()
            && self.leases.cache.is_synced()
            && self.ledger.cache.is_synced()
            && self.agents.cache.is_synced()
    }

    fn stale(&self) -> Vec<Gap> {
        let now = clock::boottime();
        [
            (self.nodes.kind, self.nodes.is_current(now)),
            (self.policies.kind, self.policies.is_current(now)),
            (self.leases.kind, self.leases.is_current(now)),
            (self.agents.kind, self.agents.is_current(now)),
        ]
        .into_iter()
        .filter(|(_, current)| !current)
        .map(|(kind, _)| Gap::Unsynced {
            kind: kind.to_owned(),
        })
        .collect()
    }
}

/// Makes the snapshot of each pass.
pub(crate) struct Observer {
    client: Client,
    watches: Watches,
    blockers: Blockers,
    metrics: Metrics,
    gone: Gone,
    own_node: Option<String>,
}

impl Observer {
    /// `own_node` is the node that this process runs on, if that is known.
    pub(crate) fn new(
        client: Client,
        watches: Watches,
        blockers: Blockers,
        metrics: Metrics,
        own_node: Option<String>,
    ) -> Self {
        Self {
            client,
            watches,
            blockers,
            metrics,
            gone: Gone::default(),
            own_node,
        }
    }

    /// Leadership is gained: what is proved has to be proved in our own time.
    pub(crate) fn begin(&self) {
        self.watches.admission.forget();
    }

    /// One look at the cluster; `None` before everything was listed once.
    pub(crate) async fn observe(&mut self, now: Timestamp) -> Option<Snapshot> {
        if !self.watches.are_synced() {
            return None;
        }
        let mut snapshot = Snapshot {
            gaps: self.watches.stale(),
            blockers: self.blockers.answers(),
            // Only the leader passes.
            leader_node: self.own_node.clone(),
            ..Snapshot::default()
        };
        snapshot.gaps.extend(self.watches.admission.gaps());
        // Leases before the ledger: a grant that is seen then has its slot in the ledger.
        snapshot.leases = decoded(
            "RebootLease",
            self.watches.leases.cache.all(),
            &mut snapshot.gaps,
        );
        self.read_ledger(&mut snapshot).await;
        let gaps = &mut snapshot.gaps;
        snapshot.nodes = decoded("Node", self.watches.nodes.cache.all(), gaps);
        let policies = decoded("RebootPolicy", self.watches.policies.cache.all(), gaps);
        snapshot.policies = policies.values().map(policy_view).collect();
        let agents = decoded("Pod", self.watches.agents.cache.all(), gaps);
        snapshot.agents = ready_agents(agents.into_values());
        self.look_for_gone(&mut snapshot, now).await;
        Some(snapshot)
    }

    async fn read_ledger(&self, snapshot: &mut Snapshot) {
        let api: Api<RebootLedger> = Api::all(self.client.clone());
        let read =
            server_time::get_opt(&self.client, &api, names::LEDGER_NAME, "read the ledger").await;
        match read {
            Ok((ledger, time)) => {
                snapshot.gaps.extend(clock_gap(time, clock::wall()));
                snapshot.ledger = ledger.map_or(LedgerState::Missing, |ledger| {
                    LedgerState::Present(Box::new(ledger))
                });
            }
            Err(error) => {
                self.metrics.error(error.class());
                if error.class() == ErrorClass::Bug {
                    let object = format!("RebootLedger {}", names::LEDGER_NAME);
                    snapshot.gaps.push(Gap::Undecodable { object });
                }
                tracing::warn!(error = %chain(&error), "no ledger, so nothing is concluded");
                snapshot.ledger = LedgerState::Unknown;
            }
        }
    }

    async fn look_for_gone(&mut self, snapshot: &mut Snapshot, now: Timestamp) {
        let Some(ledger) = snapshot.ledger.present() else {
            return;
        };
        let slots = budget::slots(ledger);
        let suspects = suspects(slots, &snapshot.nodes);
        let elapsed = clock::boottime();
        self.gone.look(&self.client, &suspects, elapsed).await;
        self.gone.keep(slots);
        snapshot.gone = self.gone.since(now, elapsed);
    }
}

/// Slots whose node the watch does not show under its UID.
fn suspects(slots: &[Slot], nodes: &BTreeMap<String, NodeView>) -> Vec<Slot> {
    let missing = |slot: &&Slot| {
        nodes
            .get(&slot.node)
            .is_none_or(|node| node.uid != slot.node_uid)
    };
    slots.iter().filter(missing).cloned().collect()
}

fn ready_agents(pods: impl Iterator<Item = AgentPod>) -> BTreeSet<String> {
    pods.filter(|pod| pod.ready && !pod.node.is_empty())
        .map(|pod| pod.node)
        .collect()
}

fn decoded<V>(
    kind: &str,
    objects: BTreeMap<String, Decoded<V>>,
    gaps: &mut Vec<Gap>,
) -> BTreeMap<String, V> {
    let mut good = BTreeMap::new();
    for (name, object) in objects {
        match object {
            Ok(object) => {
                good.insert(name, object);
            }
            Err(_) => gaps.push(Gap::Undecodable {
                object: format!("{kind} {name}"),
            }),
        }
    }
    good
}

/// The gap between the API server's clock and ours, if it is one.
pub(crate) fn clock_gap(server: Timestamp, ours: Timestamp) -> Option<Gap> {
    let seconds = ours.duration_since(server).as_secs();
    (seconds.abs() > CLOCK_SKEW_MAX).then_some(Gap::ClockSkew { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f17_clocks_more_than_a_minute_apart_are_a_gap() {
        let server: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let ours = |seconds: i64| {
            server
                .checked_add(jiff::SignedDuration::from_secs(seconds))
                .unwrap()
        };
        for seconds in [-60, 0, 1, 60] {
            assert_eq!(clock_gap(server, ours(seconds)), None, "{seconds}");
        }
        for seconds in [-3600, -61, 61] {
            assert_eq!(
                clock_gap(server, ours(seconds)),
                Some(Gap::ClockSkew { seconds })
            );
        }
    }

    #[test]
    fn an_object_that_cannot_be_decoded_is_a_gap_and_hides_no_other() {
        let objects = BTreeMap::from([
            ("a".to_owned(), Ok(1)),
            ("b".to_owned(), Err("unknown phase".to_owned())),
        ]);
        let mut gaps = Vec::new();
        assert_eq!(
            decoded("RebootLease", objects, &mut gaps),
            BTreeMap::from([("a".into(), 1)])
        );
        assert_eq!(
            gaps,
            [Gap::Undecodable {
                object: "RebootLease b".into()
            }]
        );
    }

    #[test]
    fn a_node_made_anew_is_a_suspect_for_its_former_slot() {
        let slot = |node: &str, uid: &str| Slot {
            node: node.into(),
            node_uid: uid.into(),
            lease_uid: String::new(),
            policy_uid: String::new(),
            fence: 1,
            control_plane: false,
            ..Slot::default()
        };
        let view = |uid: &str| NodeView {
            uid: uid.into(),
            ..NodeView::default()
        };
        let nodes = BTreeMap::from([("a".to_owned(), view("1")), ("b".to_owned(), view("9"))]);
        let slots = [slot("a", "1"), slot("b", "2"), slot("c", "3")];
        let found: Vec<String> = suspects(&slots, &nodes)
            .into_iter()
            .map(|slot| slot.node)
            .collect();
        assert_eq!(found, ["b", "c"]);
    }

    #[test]
    fn only_ready_agents_on_a_node_count() {
        let pod = |node: &str, ready| AgentPod {
            node: node.into(),
            ready,
        };
        let pods = [pod("a", true), pod("b", false), pod("", true)];
        assert_eq!(
            ready_agents(pods.into_iter()),
            BTreeSet::from(["a".to_owned()])
        );
    }

    #[test]
    fn before_everything_was_listed_the_pending_kinds_are_named() {
        let watches = Watches::new(true);
        assert!(!watches.are_synced());
        assert_eq!(watches.pending().len(), 6);
    }
}
