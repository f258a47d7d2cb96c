//! Where requests go, and which watches were told that their history is gone.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::body::{Bytes, Frame};
use tokio::sync::watch;

/// How an answer says that a resourceVersion is too old.
const GONE: &[u8] = b"\"code\":410";

/// The API servers behind the proxy.
pub(super) struct Way {
    requests: AtomicU16,
    watches: AtomicU16,
    cuts: watch::Sender<()>,
    gone: Mutex<Vec<String>>,
}

impl Way {
    /// Everything goes to one port.
    pub(super) fn new(port: u16) -> Self {
        Self {
            requests: AtomicU16::new(port),
            watches: AtomicU16::new(port),
            cuts: watch::channel(()).0,
            gone: Mutex::default(),
        }
    }

    pub(super) fn lead(&self, requests: u16, watches: u16) {
        self.requests.store(requests, Ordering::Relaxed);
        self.watches.store(watches, Ordering::Relaxed);
    }

    pub(super) fn port_of(&self, path: &str) -> u16 {
        let port = if is_watch(path) {
            &self.watches
        } else {
            &self.requests
        };
        port.load(Ordering::Relaxed)
    }

    pub(super) fn cut(&self) {
        self.cuts.send_replace(());
    }

    /// Returns once every connection is cut.
    pub(super) fn until_cut(&self) -> impl Future<Output = ()> + use<> {
        let mut cuts = self.cuts.subscribe();
        async move { drop(cuts.changed().await) }
    }

    /// A piece of an answer passes.
    pub(super) fn passes(&self, path: &str, frame: &Frame<Bytes>) {
        let is_gone = |data: &Bytes| data.windows(GONE.len()).any(|part| part == GONE);
        if is_watch(path) && frame.data_ref().is_some_and(is_gone) {
            self.lock().push(path.to_owned());
        }
    }

    pub(super) fn gone(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_watch(path: &str) -> bool {
    path.contains("watch=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_have_a_way_of_their_own_and_what_is_gone_is_counted_for_them_alone() {
        let way = Way::new(1);
        way.lead(2, 3);
        assert_eq!(way.port_of("/api/v1/nodes?watch=true&a=b"), 3);
        assert_eq!(way.port_of("/api/v1/nodes"), 2);
        let frame = Frame::data(Bytes::from_static(
            br#"{"type":"ERROR","object":{"code":410}}"#,
        ));
        way.passes("/api/v1/nodes", &frame);
        way.passes("/api/v1/pods?watch=true", &frame);
        assert_eq!(way.gone(), ["/api/v1/pods?watch=true"]);
    }
}
