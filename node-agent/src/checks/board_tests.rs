use slipway_api::Duration as ApiDuration;
use slipway_api::checks::CheckState::{NotRequired, Required, Unknown};

use super::*;

/// Nothing to look at.
const R: Look = None;

fn yes(detail: &str) -> Look {
    Look::from(Reading::required(detail))
}

fn no() -> Look {
    Look::from(Reading::not_required("nothing"))
}

fn doubt() -> Look {
    Look::from(Reading::unknown("broken"))
}

fn settled(looks: &[Look]) -> Settler {
    let mut settler = Settler::default();
    for look in looks {
        settler.look(look.clone());
    }
    settler
}

fn state(looks: &[Look]) -> Option<CheckState> {
    settled(looks).settled().state()
}

#[test]
fn f15_a_change_counts_once_two_looks_agree() {
    for (looks, expected) in [
        (vec![yes("a")], None),
        (vec![yes("a"), yes("a")], Some(Required)),
        (vec![no(), no(), yes("a")], Some(NotRequired)),
        (vec![no(), no(), yes("a"), no()], Some(NotRequired)),
        (vec![no(), no(), yes("a"), yes("b")], Some(Required)),
        (vec![yes("a"), yes("a"), doubt()], Some(Required)),
        (vec![yes("a"), yes("a"), doubt(), doubt()], Some(Unknown)),
        (vec![yes("a"), yes("a"), no(), no()], Some(NotRequired)),
        // A doubt between two that agree: they are not two in a row.
        (
            vec![no(), no(), yes("a"), doubt(), yes("a")],
            Some(NotRequired),
        ),
        (vec![R, R], None),
    ] {
        assert_eq!(state(&looks), expected, "{looks:?}");
    }
    assert_eq!(settled(&[R, R]).settled(), &Answer::Absent);
}

#[test]
fn only_what_differs_is_looked_at_again_shortly() {
    let mut settler = settled(&[no(), no()]);
    assert_eq!(settler.look(no()), Next::Rest);
    assert_eq!(settler.look(yes("a")), Next::Again);
    assert_eq!(settler.look(yes("a")), Next::Rest);
    // Other words are no other answer.
    assert_eq!(settler.look(yes("b")), Next::Rest);
    assert_eq!(settler.settled(), &Answer::Settled(Reading::required("b")));
}

#[test]
fn a_check_that_never_agrees_with_itself_gives_no_answer() {
    let looks = [yes("a"), doubt(), yes("a"), no(), yes("a")];
    assert_eq!(state(&looks), Some(Unknown));
    let after_need = [yes("a"), yes("a"), no(), doubt(), no(), doubt(), no()];
    assert_eq!(state(&after_need), Some(Unknown));
}

#[test]
fn what_applied_and_is_gone_is_a_doubt_and_never_the_lack_of_a_need() {
    assert_eq!(state(&[yes("a"), yes("a"), R, R]), Some(Unknown));
    assert_eq!(state(&[no(), no(), R, R]), Some(Unknown));
    // What comes later applies from then on.
    assert_eq!(state(&[R, R, no(), no()]), Some(NotRequired));
}

fn board(answers: &[(&str, Look)]) -> Board {
    let mut board = Board::settling(answers.iter().map(|(name, _)| *name));
    for (name, look) in answers {
        board.note(name, &Answer::of(look.clone()));
    }
    board
}

fn counting(checks: &[&str]) -> Triggers {
    Triggers {
        checks: checks.iter().map(|name| (*name).to_owned()).collect(),
        max_uptime: None,
    }
}

#[test]
fn a_need_is_what_the_checks_that_count_say() {
    let day = Duration::from_hours(24);
    for (answers, counted, expected) in [
        (
            vec![("kernel", yes("a")), ("packages", no())],
            "*",
            Need::Required,
        ),
        (
            vec![("kernel", yes("a")), ("packages", no())],
            "packages",
            Need::NotRequired,
        ),
        (
            vec![("kernel", yes("a")), ("packages", doubt())],
            "*",
            Need::Required,
        ),
        (
            vec![("kernel", no()), ("packages", doubt())],
            "*",
            Need::Unknown,
        ),
        (
            vec![("kernel", no()), ("packages", doubt())],
            "kernel",
            Need::NotRequired,
        ),
        (
            vec![("kernel", R), ("packages", no())],
            "kernel",
            Need::NotRequired,
        ),
        (vec![], "*", Need::NotRequired),
    ] {
        let need = board(&answers).need(&counting(&[counted]), day);
        assert_eq!(need, expected, "{answers:?} {counted}");
    }
}

#[test]
fn a_machine_that_is_up_for_too_long_needs_a_reboot_whatever_its_checks_say() {
    let (day, hour) = (Duration::from_hours(24), Duration::from_hours(1));
    let mut old = counting(&[]);
    old.max_uptime = Some(ApiDuration(day));
    for look in [no(), doubt(), R] {
        let board = board(&[("kernel", look)]);
        assert_eq!(board.need(&old, day), Need::Required);
        assert_eq!(board.need(&old, hour), Need::NotRequired);
    }
}

#[test]
fn nothing_is_concluded_before_every_check_has_answered() {
    let mut board = Board::settling(["kernel", "sentinel-file"]);
    assert!(board.note("kernel", &Answer::Settled(Reading::required("a"))));
    assert_eq!(
        board.need(&counting(&["*"]), Duration::ZERO),
        Need::Settling
    );
    assert_eq!(board.statuses(&[], Timestamp::UNIX_EPOCH), None);
    assert!(board.note("sentinel-file", &Answer::Absent));
    assert_eq!(
        board.need(&counting(&["*"]), Duration::ZERO),
        Need::Required
    );
    assert!(!board.note("nobody", &Answer::Absent));
}

#[test]
fn the_lease_lists_what_applies_and_keeps_since_when() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let first = board(&[
        ("kernel", no()),
        ("packages", R),
        ("sentinel-file", doubt()),
    ]);
    let told = first.statuses(&[], at(100)).unwrap();
    let names: Vec<_> = told.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["kernel", "sentinel-file"]);
    assert_eq!(told[1].detail, "broken");
    assert_eq!(first.statuses(&told, at(200)), None);
    let second = board(&[
        ("kernel", yes("newer")),
        ("packages", R),
        ("sentinel-file", doubt()),
    ]);
    let later = second.statuses(&told, at(200)).unwrap();
    assert_eq!((later[0].since.0, later[1].since.0), (at(200), at(100)));
    assert_eq!(later[0].state, Required);
}

#[test]
fn what_a_host_says_is_bounded_and_draws_nothing() {
    let reading = Reading::unknown(format!("a\n\u{1b}[2J{}", "x".repeat(9999)));
    assert_eq!(reading.detail.chars().count(), DETAIL_MAX);
    assert!(!reading.detail.contains(char::is_control));
    let many: Vec<String> = (0..99).map(|n| format!("command/c{n}")).collect();
    let mut board = Board::settling(many.iter().map(String::as_str));
    for name in &many {
        board.note(name, &Answer::Settled(Reading::required("a")));
    }
    let told = board.statuses(&[], Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(told.len(), CHECKS_MAX);
}

#[test]
fn a_check_that_is_counted_by_name_and_was_not_installed_is_a_doubt_that_names_the_fix() {
    let present = board(&[("kernel", no()), ("sentinel-file", R)]);
    for (name, fix) in [
        (
            "command/needs-vpn",
            "add needs-vpn to agent.checks.commands",
        ),
        ("packages", "set agent.checks.packages"),
        (
            "node-condition",
            "name conditions in agent.checks.nodeConditions",
        ),
    ] {
        let counted = counting(&["kernel", name]);
        let board = present.with_missing(&counted);
        assert_eq!(board.need(&counted, Duration::ZERO), Need::Unknown);
        let told = board.statuses(&[], Timestamp::UNIX_EPOCH).unwrap();
        let status = told.iter().find(|one| one.name == name).unwrap();
        assert_eq!(status.state, Unknown);
        assert!(status.detail.contains(fix), "{}", status.detail);
        assert!(
            status.detail.ends_with("triggers.checks"),
            "{}",
            status.detail
        );
    }
    // What the agent has and does not apply is no doubt, and "every" names none.
    for counted in [counting(&["kernel", "sentinel-file"]), counting(&["*"])] {
        assert_eq!(present.with_missing(&counted), present);
    }
}
