//! Quorum reads of the four objects that a decision rests on.
//!
//! Owns the clients and the order of the reads: lease first, pods last, because the write that
//! follows carries the lease's resourceVersion and so makes every later fact as good as checked at
//! the same moment (faults.md G5). Reads only.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};
use slipway_api::drain_filter::DrainRules;
use slipway_api::names::LEDGER_NAME;
use slipway_api::{RebootLease, RebootLedger};
use slipway_client::{CallError, bounded, clock, server_time};

use crate::facts::LedgerView;

/// Who reads, and about which node.
#[derive(Clone)]
pub struct Reader {
    /// As the agent.
    pub client: Client,
    /// As whom pods are read and evicted.
    pub pod_client: Client,
    /// Our node.
    pub node_name: String,
    /// Namespace that Slipway runs in.
    pub namespace: String,
    /// Whether the admission policies have to be proved.
    pub proves_admission: bool,
}

/// The lease as it was read.
pub struct LeaseRead {
    /// The object, or why it cannot be used; `None` when there is none.
    pub lease: Option<Result<RebootLease, String>>,
    /// The API server's clock.
    pub api_time: Timestamp,
    /// Our wall clock when the answer had come.
    pub wall: Timestamp,
    /// Time since boot before the read: the 60 s of the commit count from here.
    pub begun: Duration,
}

impl Reader {
    /// Reads our lease.
    ///
    /// # Errors
    /// See [`CallError`]; class `NotFound` means that the API server does not know the kind.
    pub async fn lease(&self) -> Result<LeaseRead, CallError> {
        let begun = clock::boottime();
        // Untyped first: a lease that a later version wrote must be told from one that is missing.
        let resource = ApiResource::erase::<RebootLease>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let what = "read the RebootLease";
        let (object, api_time) =
            server_time::get_opt(&self.client, &api, &self.node_name, what).await?;
        let parse = |object: DynamicObject| {
            let parsed = object.try_parse::<RebootLease>();
            parsed.map_err(|error| error.to_string())
        };
        Ok(LeaseRead {
            lease: object.map(parse),
            api_time,
            wall: clock::wall(),
            begun,
        })
    }

    /// Reads the ledger.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn ledger(&self) -> Result<LedgerView, CallError> {
        let api: Api<RebootLedger> = Api::all(self.client.clone());
        let what = "read the RebootLedger";
        let (ledger, _) = server_time::get_opt(&self.client, &api, LEDGER_NAME, what).await?;
        Ok(ledger.map_or(LedgerView::Missing, |ledger| {
            LedgerView::Present(Box::new(ledger))
        }))
    }

    /// Reads our Node.
    ///
    /// # Errors
    /// See [`CallError`]; class `NotFound` means that there is none.
    pub async fn node(&self) -> Result<Node, CallError> {
        let api: Api<Node> = Api::all(self.client.clone());
        bounded("read the Node", api.get(&self.node_name)).await
    }

    /// Lists the pods of our node that must leave before a reboot, by the rules of its grant.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn pods(&self, rules: &DrainRules<'_>) -> Result<Vec<Pod>, CallError> {
        let api: Api<Pod> = Api::all(self.pod_client.clone());
        let ours = ListParams::default().fields(&format!("spec.nodeName={}", self.node_name));
        let list = bounded("list the pods of the node", api.list(&ours)).await?;
        let must_go = |pod: &Pod| rules.must_go(pod);
        Ok(list.items.into_iter().filter(must_go).collect())
    }
}
