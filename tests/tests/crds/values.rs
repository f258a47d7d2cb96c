//! The chart: its values, what it renders from them, and how little its pods may do.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use clap::CommandFactory;
use serde_json::{Value, json};
use slipway_lab::chart;

fn rendered(values: &Value) -> Result<Vec<Value>> {
    chart::documents(&chart::render(values)?)
}

fn pod_of<'a>(documents: &'a [Value], kind: &str) -> Result<&'a Value> {
    let workloads = chart::of_kind(documents, kind);
    let workload = workloads.first().with_context(|| format!("no {kind}"))?;
    Ok(&workload["spec"]["template"]["spec"])
}

#[test]
fn install_yaml_is_the_chart_with_its_default_values() -> Result<()> {
    let present = fs::read_to_string(chart::repository().join("examples/install.yaml"))?;
    ensure!(
        present == chart::install_yaml()?,
        "examples/install.yaml is stale: run `cargo xtask chart`"
    );
    Ok(())
}

#[test]
fn values_that_the_chart_does_not_know_are_refused() -> Result<()> {
    refused(vec![
        (json!({ "replicas": 3 }), "'replicas' not allowed"),
        (
            json!({ "operator": { "replica": 3 } }),
            "'replica' not allowed",
        ),
        (
            json!({ "operator": { "replicas": 0 } }),
            "/operator/replicas",
        ),
        (
            json!({ "operator": { "image": { "name": "a" } } }),
            "'name' not allowed",
        ),
        (
            json!({ "agent": { "rebootCommand": "reboot" } }),
            "'rebootCommand' not allowed",
        ),
        (
            json!({ "agent": { "sentinels": ["/etc/passwd"] } }),
            "/agent/sentinels/0",
        ),
        (
            json!({ "agent": { "tolerations": [{ "effects": "a" }] } }),
            "'effects' not allowed",
        ),
        (
            json!({ "agent": { "maxUnavailable": "101%" } }),
            "/agent/maxUnavailable",
        ),
        (json!({ "agent": { "settle": "soon" } }), "/agent/settle"),
        (
            json!({ "agent": { "checks": { "kernal": false } } }),
            "'kernal' not allowed",
        ),
        (
            json!({ "metrics": { "annotation": true } }),
            "'annotation' not allowed",
        ),
        (
            json!({ "prometheusRule": { "enable": true } }),
            "'enable' not allowed",
        ),
        (json!({ "logFormat": "xml" }), "/logFormat"),
    ])
}

#[test]
fn what_runs_as_root_on_the_host_needs_its_profile_and_plain_names() -> Result<()> {
    refused(vec![
        (json!({ "agent": { "profile": "root" } }), "/agent/profile"),
        (
            json!({ "agent": { "methods": { "a": { "command": "reboot" } } } }),
            "/agent/methods/a/command",
        ),
        (
            json!({ "agent": { "methods": { "Auto": { "command": ["/sbin/reboot"] } } } }),
            "'Auto' does not match pattern",
        ),
        (
            json!({ "agent": { "methods": { "a": { "command": ["/sbin/reboot"] } } } }),
            "needs agent.profile: privileged",
        ),
        (
            json!({ "agent": { "checks": { "packages": true } } }),
            "need agent.profile: privileged",
        ),
        (
            json!({ "agent": { "checks": { "commands": { "a": command(&["/bin/a"]) } } } }),
            "need agent.profile: privileged",
        ),
        (
            json!({ "agent": { "checks": { "commands": { "2fa": command(&["/bin/a"]) } } } }),
            "'2fa' does not match pattern",
        ),
        (
            json!({ "agent": { "checks": { "commands": { "a": { "command": ["/bin/a"] } } } } }),
            "/agent/checks/commands/a",
        ),
    ])
}

/// Values, each with what is told of them.
fn refused(all: Vec<(Value, &str)>) -> Result<()> {
    for (values, told) in all {
        match chart::render(&values) {
            Ok(_) => anyhow::bail!("{values} was accepted"),
            Err(error) => ensure!(
                format!("{error:#}").contains(told),
                "{values}: expected {told}, got {error:#}"
            ),
        }
    }
    Ok(())
}

#[test]
fn nothing_is_left_of_the_default_namespace_in_another_one() -> Result<()> {
    let text = chart::render_in("elsewhere", &json!({ "agent": { "eviction": "own" } }))?;
    ensure!(
        !text.contains(chart::NAMESPACE),
        "it names {}",
        chart::NAMESPACE
    );
    ensure!(text.contains("'system:serviceaccount:elsewhere:slipway-agent'"));
    Ok(())
}

#[test]
fn options_add_what_they_say_and_nothing_else() -> Result<()> {
    let default = rendered(&json!({}))?;
    ensure!(chart::of_kind(&default, "PrometheusRule").is_empty());
    ensure!(chart::of_kind(&default, "PodDisruptionBudget").len() == 1);
    ensure!(
        chart::find(
            &default,
            "ValidatingAdmissionPolicy",
            "slipway-agent-eviction-fallback"
        )
        .is_err()
    );

    let alone = rendered(&json!({ "operator": { "replicas": 1 } }))?;
    ensure!(
        chart::of_kind(&alone, "PodDisruptionBudget").is_empty(),
        "the budget of a single operator would keep its node from being drained"
    );
    let alerts = rendered(&json!({ "prometheusRule": { "enabled": true } }))?;
    let rule = chart::find(&alerts, "PrometheusRule", "slipway")?;
    let alerts: Vec<&str> = rule["spec"]["groups"][0]["rules"]
        .as_array()
        .context("no rules")?
        .iter()
        .filter_map(|rule| rule["alert"].as_str())
        .collect();
    ensure!(alerts.contains(&"RebootRequired"), "{alerts:?}");
    Ok(())
}

#[test]
fn every_metric_of_an_alert_is_served_by_the_operator() -> Result<()> {
    let documents = rendered(&json!({ "prometheusRule": { "enabled": true } }))?;
    let rule = chart::find(&documents, "PrometheusRule", "slipway")?;
    let source = fs::read_to_string(chart::repository().join("operator/src/metrics.rs"))?;
    for rule in rule["spec"]["groups"][0]["rules"]
        .as_array()
        .context("no rules")?
    {
        let expression = rule["expr"].as_str().context("no expression")?;
        let names: Vec<&str> = expression
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("slipway_"))
            .collect();
        ensure!(!names.is_empty(), "{expression} names no metric");
        for name in names {
            ensure!(
                source.contains(&format!("\"{name}\"")),
                "there is no metric {name}"
            );
        }
    }
    Ok(())
}

/// The variables that a container gets from the chart.
fn variables(pod: &Value) -> Result<BTreeSet<String>> {
    let list = pod["containers"][0]["env"].as_array().context("no env")?;
    Ok(list
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .map(str::to_owned)
        .collect())
}

fn known(command: &clap::Command) -> BTreeSet<String> {
    command
        .get_arguments()
        .filter_map(|argument| argument.get_env())
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_programs_read_every_variable_that_the_chart_sets() -> Result<()> {
    let documents = rendered(&json!({
        "operator": { "kuredMetricAlias": true },
        "agent": {
            "sentinels": ["/var/run/reboot-required"],
            "profile": "privileged",
            "methods": { "halt": { "command": ["/sbin/reboot"] } },
        },
    }))?;
    let operator = known(&slipway_operator::config::Config::command());
    let agent = known(&slipway_node_agent::config::Cli::command());
    for (kind, known) in [("Deployment", operator), ("DaemonSet", agent)] {
        let set = variables(pod_of(&documents, kind)?)?;
        let unknown: Vec<_> = set.difference(&known).collect();
        ensure!(unknown.is_empty(), "{kind}: nobody reads {unknown:?}");
    }
    let pod = pod_of(&documents, "DaemonSet")?;
    let sentinels = pod["containers"][0]["env"]
        .as_array()
        .context("no env")?
        .iter()
        .find(|variable| variable["name"] == "SLIPWAY_SENTINELS")
        .context("no sentinels")?;
    // /var/run is a link to /run on the host, which the agent would follow into its own root.
    assert_eq!(sentinels["value"], "/host/run/reboot-required");
    Ok(())
}

#[test]
fn a_check_that_is_off_mounts_nothing() -> Result<()> {
    let documents = rendered(&json!({ "agent": { "checks": { "kernel": false } } }))?;
    let pod = pod_of(&documents, "DaemonSet")?.to_string();
    ensure!(!pod.contains("/boot") && !pod.contains("/lib/modules"));
    Ok(())
}

#[test]
fn the_pods_may_do_as_little_as_they_need() -> Result<()> {
    let documents = rendered(&json!({}))?;
    for (kind, mounted) in [
        ("Deployment", vec![]),
        (
            "DaemonSet",
            vec![
                ("/run", "/host/run", true),
                ("/proc/sys/kernel/random", "/host/kernel-random", true),
                ("/boot", "/host/boot", true),
                ("/lib/modules", "/host/lib/modules", true),
                ("/var/lib/slipway", "/var/lib/slipway", false),
            ],
        ),
    ] {
        let pod = pod_of(&documents, kind)?;
        for field in ["hostPID", "hostNetwork", "hostIPC", "initContainers"] {
            ensure!(pod[field].is_null(), "{kind} has {field}");
        }
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert_eq!(pod["containers"].as_array().map(Vec::len), Some(1));
        let container = &pod["containers"][0];
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
        ensure!(context["privileged"] != json!(true));
        ensure!(!container["resources"]["limits"]["memory"].is_null());
        ensure!(!container["livenessProbe"].is_null() && !container["readinessProbe"].is_null());

        assert_eq!(pod["automountServiceAccountToken"], false);
        let volumes = pod["volumes"].as_array().context("no volumes")?;
        let token = &volumes[0]["projected"]["sources"][0]["serviceAccountToken"];
        // 3607 s would be stretched to a year by the API server.
        assert_eq!(token["expirationSeconds"], 3600);
        let mounts = container["volumeMounts"].as_array().context("no mounts")?;
        let found: Vec<_> = volumes[1..]
            .iter()
            .map(|volume| {
                let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]);
                let mount = mount.unwrap_or(&Value::Null);
                (
                    volume["hostPath"]["path"].as_str().unwrap_or_default(),
                    mount["mountPath"].as_str().unwrap_or_default(),
                    mount["readOnly"] == json!(true),
                )
            })
            .collect();
        assert_eq!(found, mounted);
    }
    let operator = pod_of(&documents, "Deployment")?;
    assert_eq!(operator["securityContext"]["runAsNonRoot"], true);
    ensure!(
        operator["tolerations"].is_null(),
        "the operator must be moved off a cordoned node like any other pod"
    );
    let agent = pod_of(&documents, "DaemonSet")?;
    assert_eq!(agent["priorityClassName"], "system-node-critical");
    assert_eq!(agent["tolerations"], json!([{ "operator": "Exists" }]));
    Ok(())
}

/// What differs between the pods of the profiles is this, and nothing else.
#[test]
fn each_profile_gives_the_agent_what_its_ways_to_reboot_need_and_no_more() -> Result<()> {
    let logind = rendered(&json!({}))?;
    for (profile, adds, unconfined) in [
        ("logind", json!(null), false),
        ("signal", json!(["KILL"]), false),
        (
            "privileged",
            json!(["SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE"]),
            true,
        ),
    ] {
        let documents = rendered(&json!({ "agent": { "profile": profile } }))?;
        let mut pod = pod_of(&documents, "DaemonSet")?.clone();
        let fields = pod.as_object_mut().context("no pod")?;
        let host_pid = fields.remove("hostPID");
        assert_eq!(host_pid.is_some(), profile != "logind", "{profile}");
        let context = pod["containers"][0]["securityContext"]
            .as_object_mut()
            .context("no securityContext")?;
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{profile}");
        assert_eq!(context["capabilities"]["add"], adds, "{profile}");
        let app_armor = context.remove("appArmorProfile");
        let selinux = context.remove("seLinuxOptions");
        let free = (
            Some(json!({ "type": "Unconfined" })),
            Some(json!({ "type": "spc_t" })),
        );
        assert_eq!(
            (app_armor, selinux),
            if unconfined { free } else { (None, None) }
        );
        context["capabilities"] = json!({ "drop": ["ALL"] });
        assert_eq!(&pod, pod_of(&logind, "DaemonSet")?, "{profile}");
    }
    Ok(())
}

fn command(words: &[&str]) -> Value {
    json!({ "command": words, "required": [1], "notRequired": [0] })
}

/// Each part of the agents' configuration brings its ConfigMap; conditions need no privileges.
#[test]
fn conditions_of_the_node_need_no_privileged_agent() -> Result<()> {
    let values = json!({ "agent": { "checks": { "nodeConditions": ["KernelDeadlock"] } } });
    let documents = rendered(&values)?;
    let maps = chart::of_kind(&documents, "ConfigMap");
    let map = maps.first().context("no ConfigMap")?;
    let text = map["data"]["agent.json"].as_str().context("no file")?;
    ensure!(text.contains("KernelDeadlock"), "{text}");
    Ok(())
}

/// The agent's own reader understands what the chart writes.
#[test]
fn f87_commands_are_in_a_config_map_of_our_namespace_and_nowhere_else() -> Result<()> {
    let method = json!({ "command": ["/usr/sbin/ipmitool", "power", "it's \"$HOME\" {{ x }}"] });
    let check = command(&["/usr/bin/check", "it's \"$HOME\" {{ x }}"]);
    let checks = json!({ "nodeConditions": ["KernelDeadlock"], "packages": true, "commands": { "vpn": check } });
    let values = json!({
        "agent": { "profile": "privileged", "methods": { "cycle": method }, "checks": checks },
    });
    let documents = rendered(&values)?;
    let maps = chart::of_kind(&documents, "ConfigMap");
    let map = maps.first().context("no ConfigMap")?;
    assert_eq!(map["metadata"]["namespace"], chart::NAMESPACE);
    let file = tempfile::NamedTempFile::new()?;
    let text = map["data"]["agent.json"].as_str().context("no file")?;
    fs::write(file.path(), text)?;
    let installed = slipway_node_agent::installed::Installed::read(Some(file.path()))?;
    assert_eq!(json!(installed.methods["cycle"].command), method["command"]);
    let told = &installed.checks;
    assert!(told.packages && told.node_conditions == ["KernelDeadlock"]);
    assert_eq!(json!(told.commands["vpn"].command), check["command"]);
    assert_eq!(json!(told.commands["vpn"].required), check["required"]);
    let pod = pod_of(&documents, "DaemonSet")?;
    let volumes = pod["volumes"].as_array().context("no volumes")?;
    let volume = volumes.iter().find(|volume| volume["name"] == "config");
    assert_eq!(
        volume.context("no volume")?["configMap"]["name"],
        map["metadata"]["name"]
    );
    ensure!(chart::of_kind(&rendered(&json!({}))?, "ConfigMap").is_empty());
    Ok(())
}
