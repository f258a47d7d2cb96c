//! What the chart grants, as a table: a render that differs fails. And that its policies bind.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use slipway_lab::chart;

/// Subject, scope, resource and verbs, one line each; a name in brackets limits the grant to it.
const TABLE: &str = "\
slipway-agent everywhere authentication.k8s.io/nodes: impersonate:associated-node
slipway-agent everywhere nodes/status: patch
slipway-agent everywhere nodes: get patch
slipway-agent everywhere pods/eviction: impersonate-on:associated-node:create
slipway-agent everywhere pods: impersonate-on:associated-node:get impersonate-on:associated-node:list
slipway-agent everywhere slipway.dev/rebootleases/status: patch
slipway-agent everywhere slipway.dev/rebootleases: get list watch
slipway-agent everywhere slipway.dev/rebootledgers[cluster]: get
slipway-operator everywhere admissionregistration.k8s.io/validatingadmissionpolicies: get
slipway-operator everywhere admissionregistration.k8s.io/validatingadmissionpolicybindings: get
slipway-operator everywhere apiextensions.k8s.io/customresourcedefinitions[rebootleases.slipway.dev]: get
slipway-operator everywhere apiextensions.k8s.io/customresourcedefinitions[rebootledgers.slipway.dev]: get
slipway-operator everywhere apiextensions.k8s.io/customresourcedefinitions[rebootpolicies.slipway.dev]: get
slipway-operator everywhere apps/replicasets: get
slipway-operator everywhere apps/statefulsets: get
slipway-operator everywhere events.k8s.io/events: create patch
slipway-operator everywhere nodes: get list patch watch
slipway-operator everywhere pods: get list watch
slipway-operator everywhere replicationcontrollers: get
slipway-operator everywhere slipway.dev/rebootleases/status: patch
slipway-operator everywhere slipway.dev/rebootleases: create get list patch watch
slipway-operator everywhere slipway.dev/rebootledgers/status: patch update
slipway-operator everywhere slipway.dev/rebootledgers: create get list watch
slipway-operator everywhere slipway.dev/rebootpolicies/status: patch
slipway-operator everywhere slipway.dev/rebootpolicies: get list watch
slipway-operator everywhere storage.k8s.io/volumeattachments: list
slipway-operator in slipway-system coordination.k8s.io/leases: create
slipway-operator in slipway-system coordination.k8s.io/leases[slipway-operator]: get update
slipway-operator in slipway-system secrets: get
view everywhere slipway.dev/rebootleases: get list watch
view everywhere slipway.dev/rebootledgers: get list watch
view everywhere slipway.dev/rebootpolicies: get list watch
";

#[test]
fn the_chart_grants_exactly_the_table() -> Result<()> {
    for values in [
        json!({}),
        json!({ "operator": { "replicas": 1 }, "logFormat": "text" }),
    ] {
        let documents = chart::documents(&chart::render(&values)?)?;
        assert_eq!(grants(&documents)?, TABLE);
    }
    Ok(())
}

/// What `agent.eviction: own` takes from the table, and what it adds.
#[test]
fn agents_that_evict_as_themselves_impersonate_nobody() -> Result<()> {
    let values = json!({ "agent": { "eviction": "own" } });
    let found = grants(&chart::documents(&chart::render(&values)?)?)?;
    let mut expected: Vec<&str> = TABLE
        .lines()
        .filter(|line| !line.contains("impersonate"))
        .chain([
            "slipway-agent everywhere pods/eviction: create",
            "slipway-agent everywhere pods: get list",
        ])
        .collect();
    expected.sort_unstable();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    Ok(())
}

/// What `agent.forceDelete` adds: the pods of the agent's own node, and nothing else.
#[test]
fn agents_that_may_delete_do_so_in_the_name_of_their_node() -> Result<()> {
    let values = json!({ "agent": { "forceDelete": true } });
    let found = grants(&chart::documents(&chart::render(&values)?)?)?;
    let reads = "impersonate-on:associated-node:get impersonate-on:associated-node:list";
    let expected = TABLE.replace(
        reads,
        &format!("impersonate-on:associated-node:delete {reads}"),
    );
    assert_eq!(found, expected);
    let alone = json!({ "agent": { "forceDelete": true, "eviction": "own" } });
    let refused = chart::render(&alone).map(drop).unwrap_err().to_string();
    assert!(
        refused.contains("needs agent.eviction: impersonate"),
        "{refused}"
    );
    Ok(())
}

/// A policy that names only versions that are not served is inert, and so is one that nobody binds.
#[test]
fn every_policy_denies_fails_closed_and_names_every_served_version() -> Result<()> {
    let values = json!({ "agent": { "eviction": "own" } });
    let documents = chart::documents(&chart::render(&values)?)?;
    let mut served = Vec::new();
    for definition in chart::of_kind(&documents, "CustomResourceDefinition") {
        let versions = definition["spec"]["versions"]
            .as_array()
            .context("no versions")?;
        let names: Vec<&Value> = versions
            .iter()
            .filter(|version| version["served"] == json!(true))
            .map(|version| &version["name"])
            .collect();
        served.push(json!(names));
    }
    let policies = chart::of_kind(&documents, "ValidatingAdmissionPolicy");
    assert_eq!(policies.len(), 9);
    for policy in policies {
        let name = policy["metadata"]["name"].as_str().context("no name")?;
        let binding = chart::find(&documents, "ValidatingAdmissionPolicyBinding", name)?;
        assert_eq!(binding["spec"]["policyName"], name);
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{name}");
        let rules = policy["spec"]["matchConstraints"]["resourceRules"]
            .as_array()
            .context("no rules")?;
        for rule in rules {
            if rule["apiGroups"] == json!(["slipway.dev"]) {
                assert!(served.contains(&rule["apiVersions"]), "{name}: {rule}");
            }
        }
        for validation in policy["spec"]["validations"]
            .as_array()
            .context("no validations")?
        {
            // Else the answer is 422, which clients class as a mistake of the request.
            assert_eq!(validation["reason"], "Forbidden", "{name}: {validation}");
        }
    }
    Ok(())
}

/// Every grant of every binding and aggregated role, one line each, sorted.
fn grants(documents: &[Value]) -> Result<String> {
    let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (binding, role, scope) in [
        ("ClusterRoleBinding", "ClusterRole", "everywhere"),
        ("RoleBinding", "Role", "in"),
    ] {
        for binding in chart::of_kind(documents, binding) {
            let scope = match binding["metadata"]["namespace"].as_str() {
                Some(namespace) => format!("{scope} {namespace}"),
                None => scope.to_owned(),
            };
            let role_name = binding["roleRef"]["name"].as_str().context("no role")?;
            assert_eq!(binding["roleRef"]["kind"], role);
            let role = chart::find(documents, role, role_name)?;
            for subject in binding["subjects"].as_array().context("no subjects")? {
                assert_eq!(subject["kind"], "ServiceAccount");
                assert_eq!(subject["namespace"], chart::NAMESPACE);
                let subject = subject["name"].as_str().context("no name")?;
                collect(&mut table, &format!("{subject} {scope}"), role)?;
            }
        }
    }
    for role in chart::of_kind(documents, "ClusterRole") {
        let labels = role["metadata"]["labels"]
            .as_object()
            .context("no labels")?;
        for label in labels.keys() {
            if let Some(into) = label.strip_prefix("rbac.authorization.k8s.io/aggregate-to-") {
                collect(&mut table, &format!("{into} everywhere"), role)?;
            }
        }
    }
    let mut lines: Vec<String> = table
        .into_iter()
        .map(|(grant, mut verbs)| {
            verbs.sort();
            format!("{grant}: {}\n", verbs.join(" "))
        })
        .collect();
    lines.sort();
    Ok(lines.concat())
}

fn collect(table: &mut BTreeMap<String, Vec<String>>, who: &str, role: &Value) -> Result<()> {
    for rule in role["rules"].as_array().context("no rules")? {
        let names = match &rule["resourceNames"] {
            Value::Null => vec![String::new()],
            names => strings(names)?
                .into_iter()
                .map(|name| format!("[{name}]"))
                .collect(),
        };
        for group in strings(&rule["apiGroups"])? {
            for resource in strings(&rule["resources"])? {
                for name in &names {
                    let group = if group.is_empty() {
                        String::new()
                    } else {
                        format!("{group}/")
                    };
                    let line = format!("{who} {group}{resource}{name}");
                    table
                        .entry(line)
                        .or_default()
                        .extend(strings(&rule["verbs"])?);
                }
            }
        }
    }
    Ok(())
}

fn strings(list: &Value) -> Result<Vec<String>> {
    serde_json::from_value(list.clone()).context("not a list of strings")
}
