//! What is wrong with this agent at present: for `/readyz`, and logged once at each change.
//!
//! The operator grants nothing to a node whose agent is not ready, so every problem that stands in
//! the way of a safe reboot is one here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use slipway_client::serve::Answer;

/// The problems, by what they are about.
#[derive(Debug)]
pub struct Health {
    problems: Mutex<BTreeMap<&'static str, String>>,
}

/// Not connected, not locked, not identified yet.
pub const START: &str = "start";
/// The watch on the lease.
pub const WATCH: &str = "lease-watch";
/// The last pass.
pub const PASS: &str = "pass";
/// What this agent is permitted, and the machine beneath it.
pub const PROBE: &str = "probe";
/// The pods of the node.
pub const PODS: &str = "pods";
/// The ledger.
pub const LEDGER: &str = "ledger";
/// The Node condition.
pub const CONDITION: &str = "node-condition";
/// The journal on the host.
pub const JOURNAL: &str = "journal";
/// The lease itself.
pub const LEASE: &str = "lease";

impl Health {
    /// An agent that has just started is not ready.
    pub fn starting() -> Self {
        let mut problems = BTreeMap::new();
        for about in [START, PASS, PROBE] {
            problems.insert(about, "not done yet".to_owned());
        }
        Self {
            problems: Mutex::new(problems),
        }
    }

    /// Notes a problem.
    pub fn bad(&self, about: &'static str, problem: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if problems.get(about) != Some(&problem) {
            tracing::warn!(about, problem, "not ready");
            problems.insert(about, problem);
        }
    }

    /// Notes that there is none, or none any more.
    pub fn good(&self, about: &'static str) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if problems.remove(about).is_some() {
            tracing::info!(about, "ready");
        }
    }

    /// Notes the problem, or that there is none.
    pub fn note(&self, about: &'static str, problem: Option<String>) {
        match problem {
            Some(problem) => self.bad(about, problem),
            None => self.good(about),
        }
    }

    /// Answers a probe. Alive is who answers at all: an API server that is down must not get the
    /// agents restarted.
    pub fn answer(&self, path: &str) -> Answer {
        match path {
            "/healthz" => Answer::text(200, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => Answer::not_found(),
        }
    }

    fn metrics(&self) -> Answer {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!(
            "# HELP slipway_agent_problems What keeps this agent from being ready; 0 is ready.\n\
             # TYPE slipway_agent_problems gauge\n\
             slipway_agent_problems {}\n",
            problems.len()
        );
        Answer {
            status: 200,
            content_type: "text/plain; version=0.0.4",
            body: text,
        }
    }

    fn ready(&self) -> Answer {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if problems.is_empty() {
            return Answer::text(200, "ok\n");
        }
        let mut text = String::new();
        for (about, problem) in problems.iter() {
            if writeln!(text, "{about}: {problem}").is_err() {
                break;
            }
        }
        Answer::text(503, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_has_no_problem_and_the_others_name_theirs() {
        let health = Health::starting();
        assert_eq!(health.answer("/readyz").status, 503);
        for about in [START, PASS, PROBE] {
            health.good(about);
        }
        assert_eq!(health.answer("/readyz").status, 200);
        health.bad(WATCH, "forbidden".into());
        let answer = health.answer("/readyz");
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (503, "lease-watch: forbidden\n")
        );
        assert_eq!(health.answer("/healthz").status, 200);
        assert_eq!(health.answer("/secrets").status, 404);
    }
}
