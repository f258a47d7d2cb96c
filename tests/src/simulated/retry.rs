//! How soon a watch that failed is opened again.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// Always the same short pause: an API server that a test stops and starts again is noticed at
/// once, and one client more or less makes no crowd.
pub struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(250))
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}
