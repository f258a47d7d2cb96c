//! /healthz, /readyz and /metrics.
//!
//! Ready means that the cluster can be seen, not that this replica leads. What is pending is named,
//! so that "the CRDs are missing" is read off the pod and not off its log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use slipway_client::clock;
use slipway_client::serve::{Answer, Routes};

use crate::election::Leadership;
use crate::metrics::Metrics;
use crate::observe::Watches;

/// A driver that has not finished a round for this long is stuck: the longest pause is 10 min, and
/// a pass whose every call is cut off after 10 s ends within some minutes.
const BEAT_LIMIT: Duration = Duration::from_mins(20);

/// The driver's sign of life.
#[derive(Clone, Debug)]
pub struct Beat(Arc<AtomicU64>);

impl Beat {
    /// Alive as of now.
    pub fn new() -> Self {
        let beat = Self(Arc::new(AtomicU64::new(0)));
        beat.beat();
        beat
    }

    /// Alive as of now.
    pub fn beat(&self) {
        self.0.store(clock::boottime().as_secs(), Ordering::Relaxed);
    }

    fn is_alive(&self, now: Duration) -> bool {
        let last = Duration::from_secs(self.0.load(Ordering::Relaxed));
        now.saturating_sub(last) < BEAT_LIMIT
    }
}

impl Default for Beat {
    fn default() -> Self {
        Self::new()
    }
}

/// The routes of the operator's port.
pub fn routes(watches: Watches, leadership: Leadership, metrics: Metrics, beat: Beat) -> Routes {
    Arc::new(move |path| match path {
        "/healthz" if beat.is_alive(clock::boottime()) => Answer::text(200, "ok\n"),
        "/healthz" => Answer::text(500, "no pass has ended for 20 minutes\n"),
        "/readyz" => ready(pending(&watches, &leadership)),
        "/metrics" => {
            metrics.leads(leadership.holds());
            Answer {
                status: 200,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: metrics.render(),
            }
        }
        _ => Answer::not_found(),
    })
}

fn pending(watches: &Watches, leadership: &Leadership) -> Vec<String> {
    let election = leadership
        .trouble()
        .map(|trouble| format!("election: {trouble}"));
    watches.pending().into_iter().chain(election).collect()
}

fn ready(pending: Vec<String>) -> Answer {
    if pending.is_empty() {
        return Answer::text(200, "ok\n");
    }
    let lines: Vec<String> = pending
        .into_iter()
        .map(|line| format!("pending: {line}\n"))
        .collect();
    Answer::text(503, lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_is_named() {
        assert_eq!(ready(Vec::new()).status, 200);
        let answer = ready(vec!["Nodes: not listed yet".into(), "election: x".into()]);
        assert_eq!(answer.status, 503);
        assert_eq!(
            answer.body,
            "pending: Nodes: not listed yet\npending: election: x\n"
        );
    }

    #[test]
    fn a_driver_that_hangs_is_unhealthy() {
        let beat = Beat::new();
        let now = clock::boottime();
        assert!(beat.is_alive(now));
        assert!(!beat.is_alive(now + BEAT_LIMIT + Duration::from_secs(1)));
    }
}
