//! The loop: events, polls, and looks that never end.

use std::path::Path;
use std::sync::Mutex;

use slipway_api::checks::SENTINEL_FILE;

use super::sentinel::SentinelFiles;
use super::*;
use crate::facts::Need;

const FAST: Duration = Duration::from_millis(10);
/// Longer than any test: only an event can wake the watcher.
const NEVER: Duration = Duration::from_hours(1);

fn checks(check: impl Check, poll: Duration) -> Checks {
    Checks {
        all: vec![Arc::new(check)],
        settle: FAST,
        poll,
    }
}

fn need(board: &Board) -> Need {
    board.need(&Triggers::default(), Duration::ZERO)
}

fn watcher(path: &Path, poll: Duration) -> (watch::Receiver<Board>, tokio::task::JoinHandle<()>) {
    let checks = checks(SentinelFiles::new(&[path.to_owned()]), poll);
    let (sender, receiver) = watch::channel(checks.board());
    let task = tokio::spawn(async move { match checks.run(&sender).await {} });
    (receiver, task)
}

async fn until(receiver: &mut watch::Receiver<Board>, wanted: Need) {
    let seen = receiver.wait_for(|board| need(board) == wanted);
    tokio::time::timeout(Duration::from_secs(20), seen)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_sentinel_is_noticed_by_an_event() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("reboot-required");
    let (mut receiver, task) = watcher(&file, NEVER);
    until(&mut receiver, Need::NotRequired).await;
    std::fs::write(&file, "").unwrap();
    until(&mut receiver, Need::Required).await;
    std::fs::remove_file(&file).unwrap();
    until(&mut receiver, Need::NotRequired).await;
    task.abort();
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_watched_again() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("run");
    let file = directory.join("reboot-required");
    let (mut receiver, task) = watcher(&file, NEVER);
    until(&mut receiver, Need::NotRequired).await;
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(&file, "").unwrap();
    until(&mut receiver, Need::Required).await;
    std::fs::rename(&directory, root.path().join("old")).unwrap();
    until(&mut receiver, Need::NotRequired).await;
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(&file, "").unwrap();
    until(&mut receiver, Need::Required).await;
    task.abort();
}

#[tokio::test]
async fn without_events_the_poll_notices() {
    let told = Arc::new(Mutex::new(Some(Reading::not_required("nothing"))));
    let checks = checks(Told(Arc::clone(&told)), FAST);
    let (sender, mut receiver) = watch::channel(checks.board());
    let task = tokio::spawn(async move { match checks.run(&sender).await {} });
    until(&mut receiver, Need::NotRequired).await;
    *told.lock().unwrap() = Some(Reading::required("something"));
    until(&mut receiver, Need::Required).await;
    task.abort();
}

/// Says what it is told to say; nothing wakes it.
struct Told(Arc<Mutex<Look>>);

impl Check for Told {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn look(&self) -> BoxFuture<'_, Look> {
        let look = self.0.lock().unwrap().clone();
        Box::pin(async { look })
    }
}

#[tokio::test]
async fn at_the_commit_point_what_asks_is_looked_at_once_more() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("reboot-required");
    std::fs::write(&file, "").unwrap();
    let checks = checks(SentinelFiles::new(std::slice::from_ref(&file)), NEVER);
    let mut board = checks.board();
    let asks = board::Answer::Settled(Reading::required("there"));
    board.note(SENTINEL_FILE, &asks);
    let every = Triggers::default();
    let kernel = Triggers {
        checks: vec!["kernel".to_owned()],
        max_uptime: None,
    };
    assert!(checks.still_required(&board, &every).await);
    assert!(!checks.still_required(&board, &kernel).await);
    std::fs::remove_file(&file).unwrap();
    assert!(!checks.still_required(&board, &every).await);
}

/// A program of the host that says what it is told to say, and counts how often it is asked.
struct Program(std::sync::atomic::AtomicUsize);

impl Check for Program {
    fn name(&self) -> &'static str {
        "packages"
    }

    fn look(&self) -> BoxFuture<'_, Look> {
        self.0.fetch_add(1, Ordering::AcqRel);
        Box::pin(async { Some(Reading::not_required("nothing")) })
    }

    fn every(&self) -> Option<Duration> {
        Some(NEVER)
    }

    fn is_quick(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn at_the_commit_point_a_program_counts_as_it_was_last_settled() {
    let checks = checks(Program(0.into()), NEVER);
    let mut board = checks.board();
    let asks = board::Answer::Settled(Reading::required("packages"));
    board.note("packages", &asks);
    assert!(checks.still_required(&board, &Triggers::default()).await);
    board.note("packages", &board::Answer::Absent);
    assert!(!checks.still_required(&board, &Triggers::default()).await);
}

#[tokio::test(start_paused = true)]
async fn a_check_with_a_pace_of_its_own_is_not_asked_at_the_agents_poll() {
    let program = Arc::new(Program(0.into()));
    let check: Arc<dyn Check> = Arc::<Program>::clone(&program);
    let all = Checks {
        all: vec![check],
        settle: FAST,
        poll: FAST,
    };
    let (sender, _receiver) = watch::channel(all.board());
    let looks = tokio::time::timeout(NEVER / 2, all.run(&sender)).await;
    assert!(looks.is_err());
    assert_eq!(program.0.load(Ordering::Acquire), 2, "two looks that agree");
}

#[tokio::test(start_paused = true)]
async fn f16_a_look_that_hangs_is_given_up_and_not_begun_again() {
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let patience = Patience::default();
    let hang = patience.look(move || {
        // Ends when the other half is dropped.
        assert!(blocked.recv().is_err());
        Some(Reading::not_required("at last"))
    });
    let told = |look: Look| look.unwrap().detail;
    let (look, ()) = tokio::join!(hang, tokio::time::advance(LOOK_LIMIT));
    assert!(told(look).contains("did not answer within 30s"));
    let second = patience.look(|| Some(Reading::required("never looked")));
    assert!(told(second.await).contains("has not answered the look before"));
    drop(unblock);
    let ended = || !patience.busy.load(Ordering::Acquire);
    while !ended() {
        std::thread::yield_now();
    }
    let third = patience.look(|| Some(Reading::required("looked")));
    assert_eq!(told(third.await), "looked");
}

#[test]
fn paths_are_shown_as_the_host_knows_them() {
    let inside = Path::new("/host/run/reboot-required");
    assert_eq!(shown(inside), "/run/reboot-required");
    assert_eq!(shown(Path::new("/hostile/x")), "/hostile/x");
}
