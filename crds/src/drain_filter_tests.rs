use super::*;
use serde_json::{Value, json};

const NOW: &str = "2026-01-01T01:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A grant given half an hour ago, with these settings.
fn grant(drain: &Value) -> Grant {
    serde_json::from_value(json!({
        "fence": 7, "grantedAt": "2026-01-01T00:30:00Z", "notAfter": "2026-01-01T02:00:00Z",
        "drain": drain, "reboot": {}, "verify": {},
    }))
    .unwrap()
}

fn judged(pod: &Value, drain: &Value) -> PodVerdict {
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    DrainRules::of(Some(&grant(drain)), "slipway-system", now()).judge(&pod)
}

fn pod(change: &Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "p", "namespace": "default", "labels": {"app": "web"},
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [], "serviceAccountName": "default"},
        "status": {"phase": "Running"},
    });
    merge(&mut pod, change);
    pod
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

fn owned_by(kind: &str) -> Value {
    json!({"metadata": {"ownerReferences": [
        {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}]}})
}

fn both(one: &Value, two: &Value) -> Value {
    let mut one = one.clone();
    merge(&mut one, two);
    one
}

fn leaving(at: &str) -> Value {
    json!({"metadata": {"deletionTimestamp": at}})
}

fn finished() -> Value {
    json!({"status": {"phase": "Succeeded"}})
}

fn empty_dir() -> Value {
    json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}})
}

#[test]
fn f58_pods_are_judged_as_kubectl_drain_judges_them() {
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}});
    let daemon = owned_by("DaemonSet");
    let stays = PodVerdict::Stays;
    let cases = [
        (json!({}), PodVerdict::Evict),
        (owned_by("ReplicaSet"), PodVerdict::Evict),
        (empty_dir(), PodVerdict::Evict),
        (finished(), PodVerdict::Evict),
        (daemon.clone(), stays(StaysBecause::DaemonSet)),
        (both(&daemon, &finished()), PodVerdict::Evict),
        (both(&daemon, &leaving(NOW)), stays(StaysBecause::DaemonSet)),
        (mirror.clone(), stays(StaysBecause::Mirror)),
        (both(&mirror, &finished()), stays(StaysBecause::Mirror)),
        (leaving(NOW), PodVerdict::Leaving),
        (leaving("2025-01-01T00:00:00Z"), PodVerdict::Leaving),
    ];
    for (change, verdict) in cases {
        assert_eq!(judged(&pod(&change), &json!({})), verdict, "{change}");
    }
}

#[test]
fn an_owner_that_is_no_controller_does_not_keep_a_pod() {
    let mut owner = owned_by("DaemonSet");
    owner["metadata"]["ownerReferences"][0]["controller"] = json!(false);
    assert_eq!(judged(&pod(&owner), &json!({})), PodVerdict::Evict);
}

#[test]
fn q7_an_operator_stays_and_what_only_looks_like_one_does_not() {
    let operator = json!({"metadata": {"namespace": "slipway-system",
        "labels": {"app.kubernetes.io/component": "operator"}},
        "spec": {"serviceAccountName": "slipway-operator"}});
    let stays = PodVerdict::Stays(StaysBecause::Operator);
    assert_eq!(judged(&pod(&operator), &json!({})), stays);
    let account = json!({"spec": {"serviceAccountName": "default"}});
    let namespace = json!({"metadata": {"namespace": "default"}});
    for other in [account, namespace] {
        let change = both(&operator, &other);
        assert_eq!(judged(&pod(&change), &json!({})), PodVerdict::Evict);
    }
}

#[test]
fn a_pod_selector_leaves_the_others_where_they_are() {
    let drain = json!({"podSelector": {"matchExpressions": [
        {"key": "app", "operator": "NotIn", "values": ["web"]}]}});
    let stays = PodVerdict::Stays(StaysBecause::NotSelected);
    assert_eq!(judged(&pod(&json!({})), &drain), stays);
    assert_eq!(judged(&pod(&leaving(NOW)), &drain), stays);
    let other = json!({"metadata": {"labels": {"app": "db"}}});
    assert_eq!(judged(&pod(&other), &drain), PodVerdict::Evict);
}

#[test]
fn f58_what_a_policy_blocks_must_go_and_is_not_evicted() {
    let unmanaged = json!({"unmanagedPods": "Block"});
    let data = json!({"emptyDirData": "Block"});
    let of_set = owned_by("ReplicaSet");
    let blocks = |because| PodVerdict::Blocks(because);
    let cases = [
        (json!({}), &unmanaged, blocks(BlocksBecause::Unmanaged)),
        (of_set.clone(), &unmanaged, PodVerdict::Evict),
        (finished(), &unmanaged, PodVerdict::Evict),
        (leaving(NOW), &unmanaged, PodVerdict::Leaving),
        (
            both(&of_set, &empty_dir()),
            &data,
            blocks(BlocksBecause::EmptyDir),
        ),
        (of_set.clone(), &data, PodVerdict::Evict),
        (both(&finished(), &empty_dir()), &data, PodVerdict::Evict),
    ];
    for (change, drain, verdict) in cases {
        assert_eq!(judged(&pod(&change), drain), verdict, "{change} {drain}");
    }
    let pod: Pod = serde_json::from_value(pod(&json!({}))).unwrap();
    let grant = grant(&unmanaged);
    assert!(DrainRules::of(Some(&grant), "slipway-system", now()).must_go(&pod));
}

#[test]
fn f59_a_pod_that_does_not_end_is_skipped_only_when_that_is_written() {
    let drain = json!({"skipWaitForDeleteTimeout": "10m"});
    let at = |time: &str| judged(&pod(&leaving(time)), &drain);
    assert_eq!(at("2026-01-01T00:50:00Z"), PodVerdict::Leaving);
    let stuck = PodVerdict::Stays(StaysBecause::Stuck);
    assert_eq!(at("2026-01-01T00:49:59Z"), stuck);
    let never = judged(&pod(&leaving("2025-01-01T00:00:00Z")), &json!({}));
    assert_eq!(never, PodVerdict::Leaving);
}

#[test]
fn pods_of_a_daemon_set_that_a_policy_names_are_evicted_once() {
    let drain = json!({"daemonSetPods": {"matchLabels": {"app": "web"}}});
    let daemon = owned_by("DaemonSet");
    assert_eq!(judged(&pod(&daemon), &drain), PodVerdict::Evict);
    let other = both(&daemon, &json!({"metadata": {"labels": {"app": "db"}}}));
    let stays = PodVerdict::Stays(StaysBecause::DaemonSet);
    assert_eq!(judged(&pod(&other), &drain), stays);
    // The pod that was made in its place.
    let anew = json!({"metadata": {"creationTimestamp": "2026-01-01T00:40:00Z"}});
    assert_eq!(judged(&pod(&both(&daemon, &anew)), &drain), stays);
}

#[test]
fn only_a_policy_that_says_so_reboots_with_pods_left_and_only_after_the_timeout() {
    let passed = SignedDuration::from_mins(11);
    let drain = |on_timeout: &str, timeout: &str, delay: &str| {
        grant(&json!({"onTimeout": on_timeout, "timeout": timeout, "delay": delay}))
    };
    assert!(goes_anyway(&drain("RebootAnyway", "10m", "0s"), passed));
    assert!(goes_anyway(&drain("RebootAnyway", "10m", "1m"), passed));
    assert!(!goes_anyway(&drain("RebootAnyway", "10m", "2m"), passed));
    assert!(!goes_anyway(&drain("RebootAnyway", "0s", "0s"), passed));
    assert!(!goes_anyway(&drain("Abort", "10m", "0s"), passed));
    assert!(!goes_anyway(&drain("ForceDelete", "10m", "0s"), passed));
}
