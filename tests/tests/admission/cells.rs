//! A cell of the matrix: who asks for what, and what the API server has to answer.
//!
//! Every request is a dry run: it passes authorization, admission and validation and changes nothing,
//! so cells need no order and can be asked again and again.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{Request, Status};
use serde_json::Value;

pub(crate) const NODES: &str = "/api/v1/nodes";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const LEASES: &str = "/apis/slipway.dev/v1alpha1/rebootleases";
pub(crate) const LEDGERS: &str = "/apis/slipway.dev/v1alpha1/rebootledgers";

const CALL_BOUND: Duration = Duration::from_secs(10);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// The agent of a node, by the token of its pod.
    Agent(String),
    /// The agent's ServiceAccount by a token that is bound to no pod.
    Unbound,
    /// The operator, by the token of its pod.
    Operator,
    /// A person with every right in our API group by RBAC, but no cluster admin.
    Editor,
    /// A person who looks after reboots, by the chart's own role.
    Rebooter,
    /// A cluster admin by RBAC.
    Admin,
    /// The kubelet of a node.
    Kubelet(String),
    /// Kubernetes' garbage collector.
    GarbageCollector,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    verb: Verb,
    collection: String,
    name: String,
    subresource: Option<&'static str>,
    body: Value,
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Get,
    List,
    Create,
    Merge,
    Strategic,
    Delete,
    DeleteCollection,
}

/// What has to be answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Allowed,
    /// Refused by one of our policies, with these words.
    DeniedBy(&'static str, &'static str),
    /// Refused by whomever else, with these words.
    Refused(&'static str),
}

/// One line of the matrix.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) who: Who,
    /// The user in whose name it is asked (constrained impersonation).
    as_user: Option<String>,
    /// A group that is claimed with it.
    as_group: Option<&'static str>,
    act: Act,
    answer: Answer,
}

impl Act {
    fn new(verb: Verb, collection: &str, name: &str, body: Value) -> Self {
        Self {
            verb,
            collection: collection.to_owned(),
            name: name.to_owned(),
            subresource: None,
            body,
        }
    }

    pub(crate) fn get(collection: &str, name: &str) -> Self {
        Self::new(Verb::Get, collection, name, Value::Null)
    }

    /// A list, of what a field selector says where it is not empty.
    pub(crate) fn list(collection: &str, field_selector: &str) -> Self {
        Self::new(Verb::List, collection, field_selector, Value::Null)
    }

    pub(crate) fn create(collection: &str, body: Value) -> Self {
        Self::new(Verb::Create, collection, "", body)
    }

    pub(crate) fn merge(collection: &str, name: &str, body: Value) -> Self {
        Self::new(Verb::Merge, collection, name, body)
    }

    pub(crate) fn strategic(collection: &str, name: &str, body: Value) -> Self {
        Self::new(Verb::Strategic, collection, name, body)
    }

    pub(crate) fn delete(collection: &str, name: &str) -> Self {
        Self::new(Verb::Delete, collection, name, Value::Null)
    }

    pub(crate) fn delete_all(collection: &str) -> Self {
        Self::new(Verb::DeleteCollection, collection, "", Value::Null)
    }

    pub(crate) fn of(mut self, subresource: &'static str) -> Self {
        self.subresource = Some(subresource);
        self
    }
}

impl Cell {
    pub(crate) fn new(who: Who, act: Act, answer: Answer) -> Self {
        Self {
            who,
            as_user: None,
            as_group: None,
            act,
            answer,
        }
    }

    pub(crate) fn on_behalf_of(mut self, user: &str) -> Self {
        self.as_user = Some(user.to_owned());
        self
    }

    pub(crate) fn with_group(mut self, group: &'static str) -> Self {
        self.as_group = Some(group);
        self
    }

    /// What has to become of it, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self.answer {
            Answer::Allowed => "allowed",
            Answer::DeniedBy(..) => "denied by admission",
            Answer::Refused(_) => "refused by others",
        }
    }

    /// The policy that has to refuse this, if one has to.
    pub(crate) fn policy(&self) -> Option<&'static str> {
        match self.answer {
            Answer::DeniedBy(policy, _) => Some(policy),
            Answer::Allowed | Answer::Refused(_) => None,
        }
    }

    /// Asks; `None` where the answer is as it has to be, else what is wrong with it.
    pub(crate) async fn ask(&self, client: &Client) -> Result<Option<String>> {
        let sent = tokio::time::timeout(CALL_BOUND, self.send(client));
        let refusal = match sent
            .await
            .with_context(|| format!("no answer: {self}"))?
            .with_context(|| self.to_string())?
        {
            Ok(_) => None,
            Err(status) => Some((status.code, status.message)),
        };
        let right = match (&self.answer, &refusal) {
            (Answer::Allowed, refusal) => refusal.is_none(),
            (_, None) => false,
            (Answer::DeniedBy(policy, words), Some((code, message))) => {
                let by = format!("ValidatingAdmissionPolicy '{policy}'");
                *code == 403 && message.contains(&by) && message.contains(words)
            }
            (Answer::Refused(words), Some((_, message))) => message.contains(words),
        };
        Ok((!right).then(|| format!("{self}\n    answered: {refusal:?}")))
    }
}

impl Cell {
    /// Sends it; the inner error is the API server's refusal.
    async fn send(&self, client: &Client) -> Result<Result<Value, Box<Status>>> {
        let act = &self.act;
        let request = Request::new(&act.collection);
        let post = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let patch = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let delete = DeleteParams {
            dry_run: true,
            ..DeleteParams::default()
        };
        let (name, body) = (act.name.as_str(), &act.body);
        let mut list = ListParams::default();
        if !name.is_empty() {
            list = list.fields(name);
        }
        let mut request = match (act.verb, act.subresource) {
            (Verb::Get, _) => request.get(name, &GetParams::default())?,
            (Verb::List, _) => request.list(&list)?,
            (Verb::Create, None) => request.create(&post, serde_json::to_vec(body)?)?,
            (Verb::Create, Some(subresource)) => {
                let owner = body["metadata"]["name"].as_str().context("no name")?;
                request.create_subresource(subresource, owner, &post, serde_json::to_vec(body)?)?
            }
            (Verb::Merge, None) => request.patch(name, &patch, &Patch::Merge(body))?,
            (Verb::Merge, Some(subresource)) => {
                request.patch_subresource(subresource, name, &patch, &Patch::Merge(body))?
            }
            (Verb::Strategic, None) => request.patch(name, &patch, &Patch::Strategic(body))?,
            (Verb::Strategic, Some(subresource)) => {
                request.patch_subresource(subresource, name, &patch, &Patch::Strategic(body))?
            }
            (Verb::Delete, _) => request.delete(name, &delete)?,
            (Verb::DeleteCollection, _) => {
                request.delete_collection(&delete, &ListParams::default())?
            }
        };
        let claims = [
            ("impersonate-user", self.as_user.as_deref()),
            ("impersonate-group", self.as_group),
        ];
        for (header, claim) in claims {
            if let Some(claim) = claim {
                request.headers_mut().insert(header, claim.parse()?);
            }
        }
        match client.request(request).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(kube::Error::Api(status)) => Ok(Err(status)),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.who)?;
        if let Some(user) = &self.as_user {
            write!(formatter, " as {user}")?;
        }
        if let Some(group) = self.as_group {
            write!(formatter, " of {group}")?;
        }
        let Act {
            verb,
            collection,
            name,
            subresource,
            body,
        } = &self.act;
        write!(formatter, " {verb:?} {collection} {name}")?;
        if let Some(subresource) = subresource {
            write!(formatter, "/{subresource}")?;
        }
        write!(formatter, " {body}\n    expected: {:?}", self.answer)
    }
}
