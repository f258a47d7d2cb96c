//! Start and end: clients, watches, the port, the election, the driver, and the signals.
//!
//! Every task is meant to live as long as the process: one that ends is an error that ends it, else
//! a half-dead operator would look alive.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use slipway_client::chain;
use slipway_client::connect::{ConnectError, ConnectOptions, client};
use slipway_client::serve::serve;
use slipway_client::simulate;
use slipway_client::version::{self, VersionError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::apply::Context;
use crate::blockers::{Asker, Blockers};
use crate::config::Config;
use crate::election::{self, Leadership};
use crate::events::{Events, deliver};
use crate::health::{self, Beat};
use crate::metrics::Metrics;
use crate::notify::{Dispatcher, Notifier, Services};
use crate::observe::{Observer, Watches};
use crate::pass::Driver;
use crate::report::Reporter;

/// How long a pass may take to end after SIGTERM: it stops before its next write, and the one under
/// way is cut off after 10 s.
const PASS_END_LIMIT: Duration = Duration::from_secs(15);
/// How long a message under way may take to be told and noted; the next leader tells what was not.
const NOTIFY_END_LIMIT: Duration = Duration::from_secs(5);
/// How long giving leadership back may take.
const ELECTION_END_LIMIT: Duration = Duration::from_secs(5);

/// Between two questions for the API server's version.
const VERSION_PAUSE: Duration = Duration::from_secs(2);

/// Why the operator ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No client.
    #[error("failed to connect")]
    Connect(#[source] ConnectError),
    /// The metrics cannot be made.
    #[error("failed to make the metrics")]
    Metrics(#[source] prometheus::Error),
    /// The port cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Signals cannot be heard.
    #[error("failed to listen for signals")]
    Signal(#[source] std::io::Error),
    /// The API server is not one that is spoken to.
    #[error(transparent)]
    Version(VersionError),
    /// Another replica leads now: this process has nothing more to say (faults.md G7).
    #[error("leadership is lost")]
    LeadershipLost,
    /// A task has ended that never should.
    #[error("failed to go on: {0} has ended")]
    TaskEnded(&'static str),
}

/// Runs the operator until it is told to end or cannot go on.
///
/// # Errors
/// See [`RunError`]. An API server that is away, CRDs or permissions that are missing are no errors:
/// they are said at /readyz and waited for.
pub async fn run(config: Config) -> Result<(), RunError> {
    let metrics = Metrics::new(config.kured_metric_alias).map_err(RunError::Metrics)?;
    let options = ConnectOptions {
        kubeconfig: config.kubeconfig.clone(),
        ..Default::default()
    };
    let api = client(&options).await.map_err(RunError::Connect)?;
    // Of its own: renewals never wait behind other calls.
    let for_election = client(&options).await.map_err(RunError::Connect)?;
    let (candidate, leadership) =
        election::candidate(for_election, &config.namespace, config.identity());
    let watches = Watches::new(config.require_admission_policies);
    let beat = Beat::new();
    let routes = health::routes(
        watches.clone(),
        leadership.clone(),
        metrics.clone(),
        beat.clone(),
    );
    let address = config.listen;
    let (bound, http) = serve(address, routes)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    tracing::info!(%bound, identity = config.identity(), "started");

    let wake = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    watches.start(&mut tasks, (&api, &config.namespace), &wake, &metrics);
    let (events, queue) = Events::new(metrics.clone());
    let delivery = deliver(api.clone(), config.identity(), queue, metrics.clone());
    tasks.spawn(named("the delivery of events", delivery));
    tasks.spawn(named("the port", async { drop(http.await) }));
    let (blockers, notifier) = beside(&mut tasks, (&api, &config), &leadership, &metrics, &wake);
    supported(&api, &beat).await?;
    let (stop_passes, passes_stopped) = watch::channel(false);
    let (stop_election, election_stopped) = watch::channel(false);
    let driver = Driver {
        ctx: Context {
            client: api.clone(),
            namespace: config.namespace.clone(),
            leadership,
            stop: passes_stopped.clone(),
            blockers: blockers.clone(),
            metrics: metrics.clone(),
            admission: watches.admission(),
        },
        observer: Observer::new(api, watches, blockers, metrics, config.node_name.clone()),
        reporter: Reporter::new(events, notifier.clone()),
        notifier: notifier.clone(),
        wake,
        beat,
        refused: Vec::new(),
        failures: 0,
    };
    let mut passes = tokio::spawn(simulate::task(driver.run(passes_stopped)));
    let mut election = tokio::spawn(simulate::task(candidate.run(election_stopped)));
    wait(&mut tasks, &mut passes, &mut election).await?;

    tracing::info!("ending");
    // First the passes, then leadership: the next leader finds nobody at work.
    stop_passes.send_replace(true);
    drop(tokio::time::timeout(PASS_END_LIMIT, passes).await);
    drop(tokio::time::timeout(NOTIFY_END_LIMIT, notifier.finish()).await);
    stop_election.send_replace(true);
    drop(tokio::time::timeout(ELECTION_END_LIMIT, election).await);
    Ok(())
}

/// Waits until the API server has said that it is new enough.
async fn supported(api: &Client, beat: &Beat) -> Result<(), RunError> {
    loop {
        match version::require(api).await {
            Ok(()) => return Ok(()),
            Err(error) if error.may_pass() => {
                tracing::warn!(error = %chain(&error), "waiting for the API server");
            }
            Err(error) => return Err(RunError::Version(error)),
        }
        beat.beat();
        tokio::time::sleep(VERSION_PAUSE).await;
    }
}

/// Starts what is done beside the passes: blockers are asked, and people are told.
fn beside(
    tasks: &mut JoinSet<&'static str>,
    (api, config): (&Client, &Config),
    leadership: &Leadership,
    metrics: &Metrics,
    wake: &Arc<Notify>,
) -> (Blockers, Notifier) {
    let blockers = Blockers::new();
    let secrets_of = (api.clone(), config.namespace.as_str());
    let asker = Asker::new(
        blockers.clone(),
        secrets_of.clone(),
        config.allow_urls.clone(),
        metrics.clone(),
    );
    let asking = asker.run(Arc::clone(wake));
    tasks.spawn(named("the asking of blockers", asking));
    let notifier = Notifier::new(metrics.clone());
    let leads = leadership.clone();
    let dispatcher = Dispatcher::new(
        notifier.clone(),
        secrets_of,
        Services::default(),
        move || leads.holds(),
    );
    let telling = dispatcher.run(Arc::clone(wake));
    tasks.spawn(named("the delivery of notifications", telling));
    (blockers, notifier)
}

/// Waits for a signal to end (Ok), or for something that must not end.
async fn wait(
    tasks: &mut JoinSet<&'static str>,
    passes: &mut JoinHandle<()>,
    election: &mut JoinHandle<bool>,
) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    tokio::select! {
        biased;
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = election => match ended {
            Ok(_) => Err(RunError::LeadershipLost),
            Err(_) => Err(RunError::TaskEnded("the election")),
        },
        _ = passes => Err(RunError::TaskEnded("the driver")),
        ended = tasks.join_next() => {
            // A task that panicked cannot say what it was; its panic is in the log.
            Err(RunError::TaskEnded(ended.and_then(Result::ok).unwrap_or("a task")))
        }
    }
}

/// Waits until told to stop. A sender that is gone counts: nobody is left to go on for.
pub(crate) async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// A task that says what it was when it ends.
pub(crate) fn named(
    what: &'static str,
    task: impl Future<Output = ()>,
) -> impl Future<Output = &'static str> {
    let task = simulate::task(task);
    async move {
        task.await;
        what
    }
}
