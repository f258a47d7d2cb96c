//! The machine that an agent of the bench believes to run on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use slipway_api::policy::RebootMethod;
use slipway_node_agent::Host;
use slipway_node_agent::host::{HostError, Offer, RebootError};

/// A machine that counts what it is asked for, and does nothing.
pub(crate) struct Paper(pub(crate) Arc<AtomicUsize>);

impl Host for Paper {
    fn boot_id(&self) -> BoxFuture<'_, Result<String, HostError>> {
        std::future::ready(Ok("11111111-2222-3333-4444-555555555555".to_owned())).boxed()
    }

    fn offer<'a>(&'a self, _: &'a RebootMethod) -> BoxFuture<'a, Offer> {
        futures::future::ready(Offer::by(RebootMethod::Logind)).boxed()
    }

    fn reboot<'a>(&'a self, _: &'a RebootMethod) -> BoxFuture<'a, Result<(), RebootError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(())).boxed()
    }

    fn shutdown_pending(&self) -> BoxFuture<'_, Result<bool, HostError>> {
        std::future::ready(Ok(false)).boxed()
    }
}
