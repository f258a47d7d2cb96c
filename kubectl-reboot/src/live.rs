//! The status of everything as it changes, by watches: a cluster of thousands of nodes is listed once.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::StreamExt;
use futures::stream::{self, BoxStream, SelectAll};
use k8s_openapi::api::core::v1::Node;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watching};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use slipway_api::{RebootLease, RebootLedger, RebootPolicy};
use slipway_client::call::{ErrorClass, classify};

use crate::cluster::{self, Seen};

/// What changes within this is shown at once: one step of a reboot changes several objects.
const SETTLE: Duration = Duration::from_millis(200);

/// What a watch says.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
enum News {
    Policy(Event<DeserializeGuard<RebootPolicy>>),
    Lease(Event<DeserializeGuard<RebootLease>>),
    Ledger(Event<DeserializeGuard<RebootLedger>>),
    Node(Event<PartialObjectMeta<Node>>),
}

type Stream = BoxStream<'static, Result<News, watcher::Error>>;

/// Watches with what they have seen.
pub(crate) struct Live {
    news: SelectAll<Stream>,
    policies: Known<RebootPolicy>,
    leases: Known<RebootLease>,
    ledgers: Known<RebootLedger>,
    nodes: Known<BTreeMap<String, String>>,
    /// Nothing but answers since the last trouble that was told.
    is_fine: bool,
}

impl Live {
    /// Nodes are watched only where somebody selects by their labels.
    pub(crate) fn start(client: &Client, with_labels: bool) -> Self {
        let mut streams = vec![
            watch(client, News::Policy),
            watch(client, News::Lease),
            watch(client, News::Ledger),
        ];
        let mut nodes = Known::default();
        if with_labels {
            let api: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
            let events = watching::watcher(api, watcher::Config::default()).default_backoff();
            streams.push(events.map(|event| event.map(News::Node)).boxed());
        } else {
            nodes.is_read = true;
        }
        Self {
            news: stream::select_all(streams),
            policies: Known::default(),
            leases: Known::default(),
            ledgers: Known::default(),
            nodes,
            is_fine: true,
        }
    }

    /// Waits until something has changed, and everything has been read once. Trouble is told, and
    /// the watches go on: the API server may be away for a while.
    pub(crate) async fn next(&mut self) -> Result<()> {
        loop {
            self.one().await?;
            let settled = tokio::time::sleep(SETTLE);
            tokio::pin!(settled);
            loop {
                tokio::select! {
                    () = &mut settled => break,
                    noted = self.one() => noted?,
                }
            }
            if self.is_read() {
                return Ok(());
            }
        }
    }

    async fn one(&mut self) -> Result<()> {
        let Some(event) = self.news.next().await else {
            bail!("the watches have ended");
        };
        match event {
            Ok(news) => {
                self.note(news);
                Ok(())
            }
            Err(error) => self.warn(&error),
        }
    }

    fn note(&mut self, news: News) {
        self.is_fine |= match news {
            News::Policy(event) => self.policies.note(event, guarded),
            News::Lease(event) => self.leases.note(event, guarded),
            News::Ledger(event) => self.ledgers.note(event, guarded),
            News::Node(event) => self.nodes.note(event, |node| {
                let (name, labels) = cluster::labels(node.metadata);
                (name, Some(labels))
            }),
        };
    }

    fn warn(&mut self, error: &watcher::Error) -> Result<()> {
        let text = told(error);
        // What is not there or not allowed at the start does not come by waiting.
        if is_refused(error) && !self.is_read() {
            bail!("failed to watch: {text}");
        }
        // A server that is away gives many answers to many tries.
        if self.is_fine {
            self.is_fine = false;
            writeln!(std::io::stderr(), "warning: trying again: {text}")?;
        }
        Ok(())
    }

    fn is_read(&self) -> bool {
        self.policies.is_read && self.leases.is_read && self.ledgers.is_read && self.nodes.is_read
    }

    /// As it is now.
    pub(crate) fn seen(&self) -> Seen {
        let mut ledgers = self.ledgers.objects.values();
        Seen {
            policies: self.policies.objects.values().cloned().collect(),
            leases: self.leases.objects.values().cloned().collect(),
            ledger: ledgers
                .find(|ledger| cluster::is_the_ledger(ledger))
                .cloned(),
            labels: self.nodes.objects.clone(),
        }
    }
}

fn watch<K>(
    client: &Client,
    news: impl Fn(Event<DeserializeGuard<K>>) -> News + Send + 'static,
) -> Stream
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let events = watching::watcher(api, watcher::Config::default()).default_backoff();
    events.map(move |event| event.map(&news)).boxed()
}

/// What a newer Slipway wrote and this program cannot read is left out, and stops nothing.
fn guarded<K: Resource>(object: DeserializeGuard<K>) -> (String, Option<K>) {
    let name = object.meta().name.clone().unwrap_or_default();
    (name, object.0.ok())
}

/// The API server's own sentence, where it has said one.
fn told(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.message.clone(),
        other => other.to_string(),
    }
}

fn is_refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause) => {
            matches!(classify(cause), ErrorClass::Denied | ErrorClass::NotFound)
        }
        _ => false,
    }
}

/// Objects of a kind, by name.
struct Known<T> {
    objects: BTreeMap<String, T>,
    /// A list that is under way: what is there stays until it is whole.
    coming: BTreeMap<String, T>,
    is_read: bool,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            coming: BTreeMap::new(),
            is_read: false,
        }
    }
}

impl<T> Known<T> {
    /// True when the server has answered: what begins a list is said before it is asked.
    fn note<E>(&mut self, event: Event<E>, read: impl Fn(E) -> (String, Option<T>)) -> bool {
        let answered = !matches!(event, Event::Init);
        match event {
            Event::Init => self.coming.clear(),
            Event::InitApply(object) => put(&mut self.coming, read(object)),
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.coming);
                self.is_read = true;
            }
            Event::Apply(object) => put(&mut self.objects, read(object)),
            Event::Delete(object) => {
                self.objects.remove(&read(object).0);
            }
        }
        answered
    }
}

fn put<T>(objects: &mut BTreeMap<String, T>, (name, object): (String, Option<T>)) {
    match object {
        Some(object) => {
            objects.insert(name, object);
        }
        None => {
            objects.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &str) -> (String, Option<usize>) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        (name.to_owned(), value.parse().ok())
    }

    #[test]
    fn a_list_replaces_what_was_there_only_once_it_is_whole() {
        let mut known = Known::default();
        let mut note = |event| {
            known.note(event, read);
            (known.is_read, format!("{:?}", known.objects))
        };
        note(Event::Init);
        assert_eq!(note(Event::InitApply("a=1")), (false, "{}".into()));
        assert_eq!(note(Event::InitDone), (true, r#"{"a": 1}"#.into()));
        note(Event::Apply("b=2"));
        note(Event::Init);
        assert_eq!(note(Event::InitApply("c=3")).1, r#"{"a": 1, "b": 2}"#);
        assert_eq!(note(Event::InitDone).1, r#"{"c": 3}"#);
        // One that cannot be read any more is not shown as it was.
        assert_eq!(note(Event::Apply("c")).1, "{}");
        note(Event::Apply("d=4"));
        assert_eq!(note(Event::Delete("d")).1, "{}");
    }
}
