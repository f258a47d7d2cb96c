//! An in-memory Kubernetes API server behind `kube::Client`: no network, no clock of its own.
//!
//! Owns the semantics that our programs rest on: one monotone resourceVersion, compare-and-swap,
//! the status subresource, generations, merge and strategic patches, defaults and rules of our
//! CRDs, evictions with PodDisruptionBudgets, pages, watches with history, bookmarks and 410.
//! Whatever it answers, the fidelity suite compares with a real server.
//! It knows no permissions: who may do what is asked of the real server only.
//! The same seed, clock and requests give the same bytes.

pub mod answer;
mod builtin;
mod custom;
mod delete;
mod eviction;
pub mod json;
pub mod kinds;
mod managed;
mod merge;
pub mod path;
mod read;
mod reviews;
mod rules;
mod select;
pub(crate) mod service;
pub mod store;
mod validate;
mod watch;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;

pub use answer::Answer;
pub use managed::owners_of_unschedulable;
pub use path::Call;
pub use select::label_selector;
use service::Service;
use store::Store;

/// The conversations that a run of the fidelity suite is narrowed to: part of a name, or nothing.
pub fn chosen_conversation() -> String {
    std::env::var("SLIPWAY_CONVERSATION").unwrap_or_default()
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What happens to a request on its way.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// Time until the server sees it.
    pub before: Duration,
    /// What becomes of it.
    pub act: Act,
    /// Time until the client sees the answer.
    pub after: Duration,
}

/// What becomes of a request.
#[derive(Clone, Debug, Default)]
pub enum Act {
    /// It is served.
    #[default]
    Serve,
    /// The server refuses it; nothing is written.
    Refuse(Answer),
    /// The connection fails before the server sees it.
    Lost,
    /// It is served, and the connection fails before the answer is back.
    AnswerLost,
    /// It is served although whoever sent it may have given up by then; no answer ever comes.
    Late,
    /// Nothing ever comes, and nothing is written.
    BlackHole,
    /// It is served, and the answer breaks off in the middle.
    Truncated,
    /// It is served, and something on the way answers this instead.
    Masked(Answer),
    /// Nothing is written, and the sender ends here.
    SenderDies,
    /// It is served, and the sender ends before it sees an answer.
    SenderDiesAfter,
}

/// The way between clients and server: the place for faults.
pub trait Network: Send + Sync {
    /// Decides about a request.
    fn fate(&self, call: &Call) -> Fate;

    /// How often a watch shows an event: 1, or 0 for one that is lost, or 2 for one repeated.
    fn event_copies(&self, _event: &store::Event) -> usize {
        1
    }

    /// How long the watch that this call has opened stands still before it shows the event.
    fn event_delay(&self, _call: &Call, _event: &store::Event) -> Duration {
        Duration::ZERO
    }

    /// Told of every answer.
    fn answered(&self, _call: &Call, _answer: &Answer) {}

    /// How far the clock of the `Date` header is off, in seconds.
    fn date_offset(&self) -> i64 {
        0
    }
}

/// The server. Clones are the same server.
#[derive(Clone)]
pub struct FakeApi {
    store: Arc<Mutex<Store>>,
    network: Arc<Mutex<Option<Arc<dyn Network>>>>,
}

impl FakeApi {
    /// An empty server; the seed fixes its UIDs.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self {
            store: Arc::new(Mutex::new(Store::new(clock, seed))),
            network: Arc::new(Mutex::new(None)),
        }
    }

    /// A client of this server that speaks for a user.
    ///
    /// # Panics
    /// Outside a tokio runtime, as any client of the library.
    pub fn client(&self, user: &str) -> Client {
        Client::new(Service::new(self.clone(), user), "default")
    }

    /// Puts a network between the clients and the server.
    pub fn set_network(&self, network: Arc<dyn Network>) {
        let mut present = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        *present = Some(network);
    }

    fn network(&self) -> Option<Arc<dyn Network>> {
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.clone()
    }

    /// The state, for tests that look into the server or act as it.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a request at once, past the network.
    pub fn serve(&self, call: &Call, body: &Value) -> Answer {
        let mut store = self.store();
        let answer = match call.method.as_str() {
            "GET" if call.name.is_empty() => read::list(&store, call),
            "GET" => read::get(&store, call),
            "POST" if call.subresource == "eviction" => eviction::evict(&mut store, call, body),
            "POST" => write::create(&mut store, call, body.clone()),
            "PUT" => write::replace(&mut store, call, body.clone()),
            "PATCH" => write::patch(&mut store, call, body),
            "DELETE" => delete::delete(&mut store, call, body),
            _ => Err(Answer::not_allowed()),
        };
        match answer {
            Ok(answer) | Err(answer) => answer,
        }
    }

    /// Serves a method on a path at once, past the network: how tests and simulated people write.
    pub fn request(&self, method: &str, uri: &str, media: &str, body: &Value) -> Answer {
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header(http::header::CONTENT_TYPE, media)
            .body(());
        let Ok(request) = request else {
            return Answer::bad_request("the request cannot be read");
        };
        match path::read(&request.into_parts().0, "") {
            Ok(call) => self.serve(&call, body),
            Err(answer) => answer,
        }
    }
}
