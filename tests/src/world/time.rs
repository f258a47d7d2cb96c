//! Virtual time, and programs on it: each with its own clock, and each may be paused or killed.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use slipway_client::ConnectOptions;
use slipway_client::simulate::{Stop, Task, World};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::fake_api::FakeApi;

/// When every history begins.
pub(super) const EPOCH: i64 = 1_790_000_000;

/// Virtual time since the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// Begins now.
    pub(super) fn begin() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Since the beginning.
    pub(super) fn elapsed(self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    /// True wall time.
    pub(super) fn wall(self) -> Timestamp {
        let epoch = Timestamp::from_second(EPOCH).unwrap_or_default();
        let passed = SignedDuration::try_from(self.elapsed()).unwrap_or_default();
        epoch.checked_add(passed).unwrap_or(epoch)
    }
}

/// One run of one program.
#[derive(Debug)]
pub(super) struct Process {
    /// As the API server knows it: `agent:n1` or `operator:a`.
    pub(super) name: String,
    /// Which run of it.
    pub(super) incarnation: u64,
    /// How far its wall clock is off, in seconds.
    pub(super) skew: AtomicI64,
    clock: Clock,
    paused_until_ms: AtomicU64,
}

impl Process {
    /// A program that starts.
    pub(super) fn new(name: String, incarnation: u64, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            name,
            incarnation,
            skew: AtomicI64::new(0),
            clock,
            paused_until_ms: AtomicU64::new(0),
        })
    }

    /// As its requests are signed.
    pub(super) fn user(&self) -> String {
        format!("{}#{}", self.name, self.incarnation)
    }

    /// Stops it, as SIGSTOP does, until `until` since the beginning.
    pub(super) fn pause(&self, until: Duration) {
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.paused_until_ms.store(until, Ordering::Relaxed);
    }
}

impl Stop for Process {
    fn until(&self) -> Instant {
        let until = Duration::from_millis(self.paused_until_ms.load(Ordering::Relaxed));
        self.clock.start + until
    }
}

thread_local! {
    static PRESENT: RefCell<Option<Arc<Process>>> = const { RefCell::new(None) };
}

/// Runs a program's future under its name, and not at all while it is paused.
pub(super) struct Gate<F> {
    process: Arc<Process>,
    inner: Pin<Box<Task<F>>>,
}

impl<F: Future> Gate<F> {
    /// Wraps the program.
    pub(super) fn new(process: Arc<Process>, inner: F) -> Self {
        let stop: Arc<dyn Stop> = Arc::<Process>::clone(&process);
        Self {
            process,
            inner: Box::pin(Task::new(Some(stop), inner)),
        }
    }
}

impl<F: Future> Future for Gate<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let before = PRESENT.with(|present| present.replace(Some(Arc::clone(&this.process))));
        let polled = this.inner.as_mut().poll(cx);
        PRESENT.with(|present| present.replace(before));
        polled
    }
}

/// What the programs under simulation are given.
pub(super) struct Simulated {
    /// Time.
    pub(super) clock: Clock,
    /// The API server.
    pub(super) api: FakeApi,
    /// Changes with the files of the machines.
    pub(super) files: watch::Sender<u64>,
}

impl World for Simulated {
    fn wall(&self) -> Timestamp {
        let skew = PRESENT.with(|present| {
            let present = present.borrow();
            present
                .as_ref()
                .map_or(0, |process| process.skew.load(Ordering::Relaxed))
        });
        let now = self.clock.wall();
        now.checked_add(SignedDuration::from_secs(skew))
            .unwrap_or(now)
    }

    fn boottime(&self) -> Duration {
        // Never zero: a machine was booted before its programs were started.
        self.clock.elapsed() + Duration::from_secs(100)
    }

    fn stop(&self) -> Option<Arc<dyn Stop>> {
        let process = PRESENT.with(|present| present.borrow().clone());
        process.map(|process| -> Arc<dyn Stop> { process })
    }

    fn files(&self) -> Option<watch::Receiver<u64>> {
        Some(self.files.subscribe())
    }

    fn client(&self, options: &ConnectOptions) -> Client {
        // The kubeconfig's path is the name under which the process was started.
        let path = options.kubeconfig.as_deref().unwrap_or_else(|| "".as_ref());
        let own = path.to_string_lossy();
        let run = own.split_once('#').map_or("", |(_, run)| run);
        match &options.impersonate {
            Some(user) => self.api.client(&format!("{user}#{run}")),
            None => self.api.client(&own),
        }
    }
}
