//! A server between our programs and a real API server that loses, delays, repeats and garbles.
//!
//! Owns a listener with a certificate of the control plane's authority, and the rules that say which
//! request meets which fault. What no rule matches is passed on unchanged, watches included, to the
//! API server that it is led to.
//! Never makes an answer of its own but those that a rule asks for.
//! Called by the suite of faults; the simulated kubelet gives pods its address.

mod rule;
mod serve;
mod tls;
mod way;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::control_plane::certificates::Authority;
use rule::Rules;
pub use rule::{Fault, Rule};
use way::Way;

/// A running proxy; dropping it ends it with its connections.
pub struct FaultProxy {
    address: SocketAddr,
    rules: Arc<Mutex<Rules>>,
    way: Arc<Way>,
    task: JoinHandle<()>,
}

/// Names a rule, to ask later how often it matched.
#[derive(Clone, Copy, Debug)]
pub struct RuleId(usize);

impl FaultProxy {
    /// Listens on any free port of loopback and passes requests on to `upstream`, a port of loopback.
    pub async fn start(authority: &Authority, upstream: u16) -> Result<Self> {
        let tls = tls::Tls::new(authority)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("failed to listen for the fault proxy")?;
        let address = listener.local_addr()?;
        let rules = Arc::new(Mutex::new(Rules::default()));
        let way = Arc::new(Way::new(upstream));
        let passage = (Arc::clone(&rules), Arc::clone(&way));
        let task = tokio::spawn(serve::accept(listener, tls, passage));
        Ok(Self {
            address,
            rules,
            way,
            task,
        })
    }

    /// Where clients reach it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Adds a rule; an earlier one that matches the same request comes first.
    pub fn add(&self, rule: Rule) -> Result<RuleId> {
        self.with(|rules| RuleId(rules.add(rule)))
    }

    /// How many requests have met a rule's fault.
    pub fn hits(&self, rule: RuleId) -> Result<usize> {
        self.with(|rules| rules.hits(rule.0))
    }

    /// Ends every rule; faults under way go on.
    pub fn clear(&self) -> Result<()> {
        self.with(Rules::clear)
    }

    /// From the next request on, watches go to one API server and everything else to another, each a
    /// port of loopback: as where a balancer stands before them.
    pub fn lead(&self, requests: u16, watches: u16) {
        self.way.lead(requests, watches);
    }

    /// Ends every connection without a word; clients make new ones.
    pub fn cut(&self) {
        self.way.cut();
    }

    /// Path and query of every watch that a server has told that its history is gone (410).
    pub fn gone(&self) -> Vec<String> {
        self.way.gone()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Rules) -> T) -> Result<T> {
        let mut rules = self
            .rules
            .lock()
            .map_err(|_| anyhow::anyhow!("the fault proxy has panicked"))?;
        Ok(work(&mut rules))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
