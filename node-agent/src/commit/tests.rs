//! How old what a commit rests on may be when it is written, and when the call is made.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use serde_json::json;
use slipway_api::Phase;
use slipway_client::stand_in;
use tokio::sync::watch;

use super::*;
use crate::checks::Checks;
use crate::config::Cli;
use crate::decide::tests::builders::{BOOT, F, cleared, facts, secs};
use crate::health::Health;
use crate::host::{Host, HostError};
use crate::journal::Store;
use crate::memory::Memory;
use crate::observe::Reader;

/// A machine that counts the calls.
#[derive(Default)]
struct Machine(AtomicUsize);

impl Host for Machine {
    fn boot_id(&self) -> BoxFuture<'_, Result<String, HostError>> {
        ready(Ok(BOOT.to_owned())).boxed()
    }

    fn offer<'a>(&'a self, _: &'a RebootMethod) -> BoxFuture<'a, Offer> {
        ready(Offer::by(RebootMethod::Logind)).boxed()
    }

    fn reboot<'a>(&'a self, _: &'a RebootMethod) -> BoxFuture<'a, Result<(), RebootError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(Ok(())).boxed()
    }

    fn shutdown_pending(&self) -> BoxFuture<'_, Result<bool, HostError>> {
        ready(Ok(false)).boxed()
    }
}

/// A drained lease with its second key, that a person asked for: no check is looked at again.
fn lease() -> RebootLease {
    let mut lease = cleared(Phase::Drained, 5);
    let request = json!({"afterFence": 0, "by": "ada", "overrides": []});
    let grant = lease.spec.grant.as_mut().unwrap();
    grant.request = Some(serde_json::from_value(request).unwrap());
    lease
}

fn agent(directory: &Path, machine: &Arc<Machine>, writes: &Arc<AtomicUsize>) -> Agent {
    let written = Arc::clone(writes);
    let client = stand_in::client(clock::wall(), move |method, _| {
        assert_eq!(method, "PATCH");
        written.fetch_add(1, Ordering::Relaxed);
        (200, serde_json::to_value(lease()).unwrap())
    });
    let config = Cli::parse_from(["agent", "--node-name", "n1"]).agent;
    let checks = Checks::of(&config, watch::channel(None).1);
    Agent {
        reader: Reader {
            client: client.clone(),
            pod_client: client,
            node_name: "n1".to_owned(),
            namespace: "slipway-system".to_owned(),
            proves_admission: false,
        },
        host: Arc::<Machine>::clone(machine),
        store: Store::open(directory).unwrap(),
        health: Arc::new(Health::starting()),
        board: watch::channel(checks.board()).1,
        checks,
        memory: Memory::default(),
        started: Duration::ZERO,
        last: None,
    }
}

/// Writes to the lease and reboot calls of one commit whose pass began, and listed the pods, so many
/// seconds ago.
async fn commit(begun: u64, pods_read: u64) -> (usize, usize) {
    let directory = tempfile::tempdir().unwrap();
    let (machine, writes) = (Arc::default(), Arc::default());
    let mut agent = agent(directory.path(), &machine, &writes);
    let ago = |seconds| clock::boottime().checked_sub(secs(seconds)).unwrap();
    let lease = lease();
    let observed = Observed {
        facts: facts(lease.clone()),
        node: k8s_openapi::api::core::v1::Node::default(),
        pods: Vec::new(),
        begun: ago(begun),
        pods_read: ago(pods_read),
        pods_problem: None,
    };
    let rest = agent.commit(&lease, F, &observed).await.unwrap();
    assert_eq!(rest, AGAIN);
    let JournalView::Readable(journal) = agent.store.read() else {
        panic!("the journal cannot be read");
    };
    let calls = machine.0.load(Ordering::Relaxed);
    assert_eq!(journal.committed, F);
    assert_eq!(journal.call.is_some(), calls > 0);
    (writes.load(Ordering::Relaxed), calls)
}

#[tokio::test]
async fn s2_pods_that_were_listed_more_than_five_seconds_ago_are_listed_again_before_a_commit() {
    assert_eq!(commit(10, 3).await, (1, 1));
    assert_eq!(commit(10, 6).await, (0, 0));
}

#[tokio::test]
async fn f18_no_call_is_made_long_after_the_first_read_that_it_rests_on() {
    assert_eq!(commit(40, 1).await, (1, 1));
    // Committed all the same: the agent finds that no call was made, and calls or gives up.
    assert_eq!(commit(46, 1).await, (1, 0));
}
