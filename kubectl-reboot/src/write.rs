//! Writes by compare-and-swap.
//!
//! Owns the loop of read, decide, write, and dry runs. Whoever calls says what to write, from the
//! very object that is replaced. Nothing is written without the version that was read, so that
//! nobody's write is lost and no decision is made on an old one.

use std::fmt::Debug;

use anyhow::{Result, anyhow};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use slipway_client::call::{CallError, bounded};

use crate::arguments::write::{DryRun, Write};
use crate::told::plain;

/// Who writes, as the API server notes it.
const MANAGER: &str = "kubectl-reboot";
/// How often a write is tried whose object changes under it.
const ATTEMPTS: usize = 5;

/// What is to be done with an object.
pub(crate) enum Step<K> {
    /// It is as wanted.
    Nothing,
    /// Make it.
    Create(Box<K>),
    /// Merge this into it.
    Merge(Value),
}

/// An object after a write.
pub(crate) struct Written {
    /// As it is now.
    pub(crate) object: Value,
    /// False when it was so before.
    pub(crate) changed: bool,
}

/// Why an attempt came to nothing.
enum Missed {
    /// The object has changed since it was read, or nobody knows whether the write landed.
    Again {
        error: anyhow::Error,
        may_have_landed: bool,
    },
    /// It never will.
    Never(anyhow::Error),
}

/// Reads, decides and writes, anew where the object has changed in between.
pub(crate) async fn swap<K>(
    client: &Client,
    name: &str,
    options: &Write,
    decide: impl Fn(Option<&K>) -> Result<Step<K>>,
) -> Result<Written>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let api: Api<K> = Api::all(client.clone());
    // A version that was given is the person's own condition: nothing is tried behind their back.
    let attempts = if options.resource_version.is_some() {
        1
    } else {
        ATTEMPTS
    };
    repeat(attempts, async || once(&api, name, options, &decide).await).await
}

/// A write of which nobody knows whether it landed is looked at again: what is as wanted then was
/// changed by us.
async fn repeat(
    attempts: usize,
    attempt: impl AsyncFn() -> Result<Written, Missed>,
) -> Result<Written> {
    let mut unclear = false;
    let mut last = anyhow!("nothing was tried");
    for _ in 0..attempts {
        match attempt().await {
            Ok(written) => {
                return Ok(Written {
                    changed: written.changed || unclear,
                    ..written
                });
            }
            Err(Missed::Never(error)) => return Err(error),
            Err(Missed::Again {
                error,
                may_have_landed,
            }) => {
                unclear |= may_have_landed;
                last = error;
            }
        }
    }
    Err(if unclear {
        last.context("it is not known whether it was written: look at the object")
    } else {
        last.context("it was changed by others meanwhile; nothing was written")
    })
}

async fn once<K>(
    api: &Api<K>,
    name: &str,
    options: &Write,
    decide: &impl Fn(Option<&K>) -> Result<Step<K>>,
) -> Result<Written, Missed>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let what = format!("read {} {name}", K::plural(&()));
    let found = bounded(&what, api.get_opt(name))
        .await
        .map_err(|error| Missed::Never(plain(error)))?;
    let step = decide(found.as_ref()).map_err(Missed::Never)?;
    let written = match (step, found) {
        (Step::Nothing, found) => {
            return shown(found, false).map_err(Missed::Never);
        }
        (Step::Create(_), _) if options.resource_version.is_some() => {
            let missing = anyhow!("there is no {} {name} of any version", kind::<K>());
            return Err(Missed::Never(missing));
        }
        (Step::Create(object), _) => create(api, name, options, *object).await,
        (Step::Merge(body), Some(found)) => merge(api, name, options, (found, body)).await,
        (Step::Merge(_), None) => {
            let missing = anyhow!("there is no {} {name}", kind::<K>());
            return Err(Missed::Never(missing));
        }
    };
    let written = written.map_err(|error| missed::<K>(error, name))?;
    shown(Some(written), true).map_err(Missed::Never)
}

async fn create<K>(api: &Api<K>, name: &str, options: &Write, object: K) -> Result<K, CallError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    if options.dry_run == DryRun::Client {
        return Ok(object);
    }
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        dry_run: options.dry_run == DryRun::Server,
    };
    let what = format!("make {} {name}", K::plural(&()));
    bounded(&what, api.create(&params, &object)).await
}

async fn merge<K>(
    api: &Api<K>,
    name: &str,
    options: &Write,
    (found, mut body): (K, Value),
) -> Result<K, CallError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let read = found.meta().resource_version.clone();
    let version = options.resource_version.clone().or(read);
    let what = format!("write {} {name}", K::plural(&()));
    if options.dry_run == DryRun::Client {
        return merged(&found, &body)
            .map_err(|error| CallError::api(&what, kube::Error::SerdeError(error)));
    }
    put_in(
        &mut body,
        json!({ "metadata": { "resourceVersion": version } }),
    );
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        dry_run: options.dry_run == DryRun::Server,
        ..PatchParams::default()
    };
    bounded(&what, api.patch(name, &params, &Patch::Merge(body))).await
}

/// What a client-side dry run shows.
fn merged<K: Serialize + DeserializeOwned>(found: &K, body: &Value) -> serde_json::Result<K> {
    let mut object = serde_json::to_value(found)?;
    put_in(&mut object, body.clone());
    serde_json::from_value(object)
}

/// RFC 7396: null removes.
fn put_in(object: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *object = patch;
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(&key);
        } else {
            put_in(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn missed<K: Resource<DynamicType = ()>>(error: CallError, name: &str) -> Missed {
    let may_have_landed = error.may_have_landed();
    let again = error.is_conflict() || may_have_landed;
    let error = plain(error).context(format!("{} {name}", kind::<K>()));
    if again {
        Missed::Again {
            error,
            may_have_landed,
        }
    } else {
        Missed::Never(error)
    }
}

fn shown<K: Resource + Serialize>(object: Option<K>, changed: bool) -> Result<Written> {
    let object = object.map(|mut object| {
        // Nobody reads them, and kubectl hides them as well.
        object.meta_mut().managed_fields = None;
        serde_json::to_value(object)
    });
    Ok(Written {
        object: object.transpose()?.unwrap_or_default(),
        changed,
    })
}

/// `rebootlease`, as kubectl names it.
pub(crate) fn kind<K: Resource<DynamicType = ()>>() -> String {
    K::kind(&()).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn again(may_have_landed: bool) -> Missed {
        Missed::Again {
            error: anyhow!("no"),
            may_have_landed,
        }
    }

    fn written(changed: bool) -> Written {
        Written {
            object: Value::Null,
            changed,
        }
    }

    async fn tried(
        attempts: usize,
        answer: impl Fn(usize) -> Result<Written, Missed>,
    ) -> (usize, Result<Written>) {
        let count = Cell::new(0);
        let result = repeat(attempts, async || {
            count.set(count.get() + 1);
            answer(count.get())
        })
        .await;
        (count.get(), result)
    }

    #[tokio::test]
    async fn a_write_whose_object_changed_is_decided_anew_and_not_for_ever() {
        let second = |count| {
            if count < 2 {
                Err(again(false))
            } else {
                Ok(written(true))
            }
        };
        let (count, result) = tried(5, second).await;
        assert_eq!((count, result.unwrap().changed), (2, true));
        let (count, result) = tried(5, |_| Err(again(false))).await;
        let said = format!("{:#}", result.err().unwrap());
        assert!(count == 5 && said.contains("nothing was written"), "{said}");
        let (count, result) = tried(5, |_| Err(Missed::Never(anyhow!("no")))).await;
        assert!(count == 1 && result.is_err());
    }

    #[tokio::test]
    async fn f32_a_write_whose_answer_was_lost_is_read_back() {
        let lost = |count| {
            if count < 2 {
                Err(again(true))
            } else {
                Ok(written(false))
            }
        };
        let (_, result) = tried(5, lost).await;
        assert!(result.unwrap().changed, "what landed is told as no change");
        let (_, result) = tried(2, |_| Err(again(true))).await;
        let said = format!("{:#}", result.err().unwrap());
        assert!(said.contains("not known"), "{said}");
    }

    #[test]
    fn a_merge_removes_what_is_null_and_keeps_the_rest() {
        let mut object = json!({"spec": {"hold": {"by": "ada"}, "nodeUID": "u"}, "x": 1});
        put_in(
            &mut object,
            json!({"spec": {"hold": null, "release": {"fence": 3}}}),
        );
        assert_eq!(
            object,
            json!({"spec": {"nodeUID": "u", "release": {"fence": 3}}, "x": 1})
        );
    }
}
