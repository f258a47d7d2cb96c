//! Which suites run at the same time.
//!
//! Most suites wait for servers and machines and leave the processors idle; the others only compute.
//! So three that wait run beside one that computes, and the latter steps back (`nice`): a bound that a
//! scenario sets itself, such as two seconds for an edit to act, is not used up by a property test.

use std::sync::Mutex;
use std::time::Instant;

use super::log::Log;
use super::outcome::{Outcome, Report};
use super::{Pace, Suite};

/// How many suites that wait run at once. Each starts control planes of its own, of some 0.7 GiB.
const WAITING_AT_ONCE: usize = 3;

/// Runs every suite; reports come back in the order of `suites`.
pub(super) fn run_all<'a>(
    suites: &[&'a Suite],
    hindrance: impl Fn(&Suite) -> Option<Outcome> + Sync,
) -> Vec<Report<'a>> {
    let reports = Mutex::new(Vec::new());
    let next_of = |pace: Pace| {
        let queue = suites
            .iter()
            .enumerate()
            .filter(move |it| it.1.pace == pace);
        Mutex::new(queue.collect::<Vec<_>>().into_iter())
    };
    let work = |queue: &Mutex<std::vec::IntoIter<(usize, &&'a Suite)>>| {
        loop {
            let next = queue.lock().map_or(None, |mut queue| queue.next());
            let Some((place, suite)) = next else { break };
            let report = run_one(suite, hindrance(suite));
            if let Ok(mut reports) = reports.lock() {
                report.print();
                reports.push((place, report));
            }
        }
    };
    work(&next_of(Pace::First));
    let (computing, waiting) = (next_of(Pace::Computes), next_of(Pace::Waits));
    std::thread::scope(|scope| {
        scope.spawn(|| work(&computing));
        for _ in 0..WAITING_AT_ONCE {
            scope.spawn(|| work(&waiting));
        }
    });
    let mut reports = reports.into_inner().unwrap_or_default();
    reports.sort_by_key(|(place, _)| *place);
    reports.into_iter().map(|(_, report)| report).collect()
}

fn run_one(suite: &Suite, hindrance: Option<Outcome>) -> Report<'_> {
    let begun = Instant::now();
    if let Some(outcome) = hindrance {
        return Report::new(suite, outcome, begun.elapsed(), String::new());
    }
    println!("==> suite {} starts: {}", suite.name, suite.what);
    let log = match Log::create(suite.name) {
        Ok(log) => log,
        Err(error) => {
            let outcome = Outcome::Failed(format!("{error:#}"));
            return Report::new(suite, outcome, begun.elapsed(), String::new());
        }
    };
    let result = (suite.commands)().and_then(|commands| {
        for command in commands {
            log.run(&mut suite.paced(command))?;
        }
        Ok(())
    });
    let outcome = match result {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    Report::new(suite, outcome, begun.elapsed(), log.text())
}
