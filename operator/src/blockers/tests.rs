use super::*;
use slipway_api::RebootPolicySpec;

fn policy(blockers: &str) -> PolicyView {
    let text = format!("{{\"nodeSelector\": {{}}, \"blockers\": {blockers}}}");
    let spec: RebootPolicySpec = serde_json::from_str(&text).unwrap();
    PolicyView {
        name: "p".into(),
        uid: "u".into(),
        generation: 1,
        parsed: slipway_api::validate_policy(&spec),
        spec,
        status: None,
        deleting: false,
    }
}

const GATE: &str = r#"[{"name": "gate", "http": {"url": "http://gate"}},
    {"name": "fleet", "nodes": {}}]"#;

fn asking(blockers: &Blockers, policy: PolicyView) {
    let snapshot = Snapshot {
        policies: vec![policy],
        ..Snapshot::default()
    };
    let plan = Plan {
        ask: BTreeSet::from(["u".to_owned()]),
        ..Plan::default()
    };
    blockers.want(&snapshot, &plan);
}

fn say(blockers: &Blockers, rule: &BlockerRule, answer: Answer, asked: Duration) -> bool {
    let key = ("u".to_owned(), rule.name.clone());
    let answered = Answered {
        rule: rule.clone(),
        answer,
        at: clock::wall(),
    };
    blockers.take(key, answered, asked)
}

#[test]
fn only_wanted_blockers_are_asked_and_nodes_are_never() {
    let blockers = Blockers::new();
    let none = BTreeSet::new();
    assert!(blockers.due(&none, clock::boottime()).0.is_empty());
    asking(&blockers, policy(GATE));
    let (due, _) = blockers.due(&none, clock::boottime());
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].0, ("u".to_owned(), "gate".to_owned()));
    let busy = BTreeSet::from([due[0].0.clone()]);
    assert!(blockers.due(&busy, clock::boottime()).0.is_empty());
    blockers.want(&Snapshot::default(), &Plan::default());
    assert!(blockers.due(&none, clock::boottime()).0.is_empty());
}

#[test]
fn a_blocker_is_asked_again_after_ten_seconds_and_at_once_when_it_was_edited() {
    let blockers = Blockers::new();
    asking(&blockers, policy(GATE));
    let now = clock::boottime();
    let none = BTreeSet::new();
    let (due, _) = blockers.due(&none, now);
    assert!(say(&blockers, &due[0].1, Answer::Clear, now));
    let (early, next) = blockers.due(&none, now);
    assert!(early.is_empty() && next <= Duration::from_secs(10));
    assert_eq!(
        blockers.due(&none, now + Duration::from_secs(10)).0.len(),
        1
    );
    asking(
        &blockers,
        policy(&GATE.replace("http://gate", "http://other")),
    );
    assert_eq!(blockers.due(&none, now).0.len(), 1);
}

#[test]
fn only_an_answer_that_differs_wakes_the_pass() {
    let blockers = Blockers::new();
    asking(&blockers, policy(GATE));
    let now = clock::boottime();
    let (due, _) = blockers.due(&BTreeSet::new(), now);
    let rule = &due[0].1;
    let blocks = || Answer::Blocks {
        message: "no".into(),
    };
    assert!(say(&blockers, rule, Answer::Clear, now));
    assert!(!say(&blockers, rule, Answer::Clear, now));
    assert!(say(&blockers, rule, blocks(), now));
    assert!(!say(&blockers, rule, blocks(), now));
}

#[test]
fn f69_an_answer_from_before_the_drain_ended_gives_no_second_key() {
    let blockers = Blockers::new();
    let policy = policy(GATE);
    asking(&blockers, policy.clone());
    let before = clock::boottime();
    let (due, _) = blockers.due(&BTreeSet::new(), before);
    let rule = due[0].1.clone();
    say(
        &blockers,
        &rule,
        Answer::Clear,
        before.saturating_sub(Duration::from_millis(1)),
    );
    let found = blockers.since_drained(&policy, ("n", 3));
    assert!(found.answers.is_empty());
    // It is asked at once, and its answer wakes the pass although it says the same.
    assert_eq!(blockers.due(&BTreeSet::new(), clock::boottime()).0.len(), 1);
    assert!(say(&blockers, &rule, Answer::Clear, clock::boottime()));
    let found = blockers.since_drained(&policy, ("n", 3));
    assert_eq!(found.answers.len(), 1);
    assert!(found.oldest.is_some());
    assert!(
        blockers
            .due(&BTreeSet::new(), clock::boottime())
            .0
            .is_empty()
    );
}

#[test]
fn f17_a_key_rests_on_answers_by_their_age_and_not_by_our_clock() {
    let blockers = Blockers::new();
    let policy = policy(GATE);
    asking(&blockers, policy.clone());
    let (due, _) = blockers.due(&BTreeSet::new(), clock::boottime());
    blockers.since_drained(&policy, ("n", 3));
    say(&blockers, &due[0].1, Answer::Clear, clock::boottime());
    let mut found = blockers.since_drained(&policy, ("n", 3));
    found.oldest = Some(Duration::from_secs(8));
    // The API server's clock is far from ours.
    let server: Timestamp = "2020-01-01T00:00:10Z".parse().unwrap();
    let (answers, at) = found.dated(server);
    assert_eq!(at.to_string(), "2020-01-01T00:00:02Z");
    assert!(answers.values().all(|answered| answered.at == at) && answers.len() == 1);
    let (_, at) = SinceDrained::default().dated(server);
    assert_eq!(at, server);
}
