//! Policies from a file, as if they were applied.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use slipway_api::{RebootPolicy, RebootPolicySpec, validate_policy};
use slipway_planner::{PolicyView, Snapshot};

/// Most bytes of a file: a mistaken path must not fill the memory.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Every policy of a file; `-` is standard input. Objects of other kinds are passed over.
pub(crate) fn read(path: &Path) -> Result<Vec<RebootPolicy>> {
    let failed = || format!("failed to read {}", path.display());
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin()
            .take(BYTES_MAX)
            .read_to_string(&mut text)
            .with_context(failed)?;
    } else {
        std::fs::File::open(path)
            .with_context(failed)?
            .take(BYTES_MAX)
            .read_to_string(&mut text)
            .with_context(failed)?;
    }
    parse(&text).with_context(failed)
}

fn parse(text: &str) -> Result<Vec<RebootPolicy>> {
    let mut policies = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde_yaml::Value::deserialize(document).context("not YAML")?;
        let kind = value.get("kind").and_then(serde_yaml::Value::as_str);
        if kind != Some("RebootPolicy") {
            continue;
        }
        let policy: RebootPolicy =
            serde_yaml::from_value(value).context("not a RebootPolicy of this version")?;
        if policy
            .metadata
            .name
            .as_deref()
            .unwrap_or_default()
            .is_empty()
        {
            bail!("a RebootPolicy without metadata.name");
        }
        policies.push(policy);
    }
    if policies.is_empty() {
        bail!("there is no RebootPolicy in it");
    }
    Ok(policies)
}

/// The snapshot with these policies in place of those of the same name.
pub(crate) fn apply(snapshot: &Snapshot, policies: Vec<RebootPolicy>) -> Snapshot {
    let mut changed = snapshot.clone();
    for policy in policies {
        let name = policy.metadata.name.unwrap_or_default();
        let present = changed.policies.iter_mut().find(|view| view.name == name);
        match present {
            Some(view) => replace(view, policy.spec),
            None => changed.policies.push(view(name, policy.spec)),
        }
    }
    changed
}

fn replace(view: &mut PolicyView, spec: RebootPolicySpec) {
    view.parsed = validate_policy(&spec);
    view.spec = spec;
    view.deleting = false;
}

fn view(name: String, spec: RebootPolicySpec) -> PolicyView {
    PolicyView {
        uid: format!("file:{name}"),
        name,
        generation: 1,
        parsed: validate_policy(&spec),
        spec,
        status: None,
        deleting: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_policies_are_taken_and_none_is_an_error() {
        let policy = "apiVersion: slipway.dev/v1alpha1\nkind: RebootPolicy\nmetadata: {name: p}\nspec: {nodeSelector: {}}\n";
        let other = "kind: Namespace\nmetadata: {name: x}\n";
        assert_eq!(parse(&format!("{other}---\n{policy}")).unwrap().len(), 1);
        assert!(parse(other).is_err());
        assert!(parse("{").is_err());
        assert!(parse(&policy.replace("name: p", "labels: {}")).is_err());
        assert!(parse(&policy.replace("nodeSelector: {}", "mode: Sometimes")).is_err());
    }

    #[test]
    fn a_policy_of_the_same_name_keeps_its_identity() {
        let policy = |paused: bool| {
            parse(&format!(
                "kind: RebootPolicy\napiVersion: slipway.dev/v1alpha1\nmetadata: {{name: p}}\nspec: {{nodeSelector: {{}}, paused: {paused}}}"
            ))
            .unwrap()
        };
        let once = apply(&Snapshot::default(), policy(false));
        let twice = apply(&once, policy(true));
        assert_eq!(twice.policies.len(), 1);
        assert_eq!(twice.policies[0].uid, once.policies[0].uid);
        assert!(twice.policies[0].spec.paused);
    }
}
