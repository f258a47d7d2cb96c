use super::*;
use crate::PolicyError;

fn blocker(yaml: &str) -> Blocker {
    serde_yaml::from_str(yaml).unwrap()
}

fn parsed(yaml: &str) -> Result<BlockerRule, PolicyError> {
    parse(&[blocker(yaml)]).map(|mut rules| rules.remove(0))
}

fn warning(yaml: &str) -> Option<String> {
    parsed(yaml).unwrap().warning
}

#[test]
fn slipways_own_alert_and_the_watchdog_do_not_count_unless_it_is_written() {
    let rule = parsed("{name: a, prometheus: {url: 'http://p:9090'}}").unwrap();
    assert_eq!(rule.warning, None);
    let Probe::Prometheus { alerts, .. } = rule.probe else {
        panic!("another kind");
    };
    for own in ["RebootRequired", "Watchdog", "SlipwayNodeStuck"] {
        assert!(!alerts.count(own), "{own}");
    }
    for other in ["KubePodCrashLooping", "MyRebootRequired", "NodeDown"] {
        assert!(alerts.count(other), "{other}");
    }
}

#[test]
fn an_empty_ignore_ignores_nothing_and_is_warned_about() {
    let text = warning("{name: a, prometheus: {url: 'http://p', ignore: ''}}").unwrap();
    assert!(
        text.starts_with("spec.blockers[0].prometheus.ignore"),
        "{text}"
    );
    assert!(warning("{name: a, prometheus: {url: 'http://p', ignore: '^Watchdog$'}}").is_some());
}

#[test]
fn only_and_ignore_both_hold() {
    let rule =
        parsed("{name: a, prometheus: {url: 'http://p', only: '^Node', ignore: 'Info$'}}").unwrap();
    assert_eq!(rule.warning, None);
    let Probe::Prometheus { alerts, .. } = rule.probe else {
        panic!("another kind");
    };
    assert!(alerts.count("NodeDown") && !alerts.count("NodeInfo") && !alerts.count("PodDown"));
}

#[test]
fn a_query_over_every_alert_or_over_waiting_nodes_is_warned_about() {
    let of = |query: &str| {
        warning(&format!(
            "{{name: a, promql: {{url: 'http://p', query: '{query}'}}}}"
        ))
        .is_some()
    };
    assert!(of("ALERTS > 0"));
    assert!(of("slipway_reboot_required == 1"));
    assert!(!of("ALERTS{alertname=\"Down\"}"));
    assert!(!of("slo_budget < 0.1"));
}

#[test]
fn matchers_that_leave_slipways_own_alert_out_need_no_ignore() {
    let of = |matcher: &str| {
        warning(&format!(
            "{{name: a, alertmanager: {{url: 'http://a', ignore: '', matchers: ['{matcher}']}}}}"
        ))
        .is_some()
    };
    for left_out in [
        "severity=critical",
        "severity=\"critical\"",
        "severity!=warning",
        "severity=~\"critical|page\"",
        "alertname!~\"Reboot.*\"",
        "alertname=NodeDown",
    ] {
        assert!(!of(left_out), "{left_out}");
    }
    for covered in [
        "severity=warning",
        "team=web",
        "severity!=info",
        "alertname=~\".*\"",
    ] {
        assert!(of(covered), "{covered}");
    }
}

#[test]
fn f71_a_hostile_expression_is_refused_before_it_costs_anything() {
    for hostile in ["((a{100}){100}){100}", "(", "a\\", "[é]", &"a".repeat(257)] {
        let error = Pattern::new(hostile).unwrap_err();
        assert!(!error.contains('\n'), "{error}");
    }
    let slow = Pattern::new("(a|a)*b").unwrap();
    assert!(!slow.is_found_in(&"a".repeat(100_000)));
}

#[test]
fn what_the_schema_should_have_refused_names_its_field() {
    for (yaml, field) in [
        ("{name: a}", "spec.blockers[0]"),
        (
            "{name: a, nodes: {}, pods: {selector: {}}}",
            "spec.blockers[0]",
        ),
        (
            "{name: a, http: {url: 'ftp://x'}}",
            "spec.blockers[0].http.url",
        ),
        (
            "{name: a, http: {url: 'http://u:p@x'}}",
            "spec.blockers[0].http.url",
        ),
        (
            "{name: a, http: {url: 'http://'}}",
            "spec.blockers[0].http.url",
        ),
        (
            "{name: a, promql: {url: 'http://p?x', query: q}}",
            "spec.blockers[0].promql.url",
        ),
        (
            "{name: a, prometheus: {url: 'http://p', only: '('}}",
            "spec.blockers[0].prometheus.only",
        ),
        (
            "{name: a, pods: {selector: {matchExpressions: [{key: k, operator: In}]}}}",
            "spec.blockers[0].pods.selector",
        ),
    ] {
        let error = parsed(yaml).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field}: ")), "{yaml}: {error}");
    }
}
