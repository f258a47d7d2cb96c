use super::*;

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

async fn run_shell(script: &str, limit: Duration) -> Result<Ended, CommandError> {
    run(&shell(script), Mounts::own(), limit, For::Action).await
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_program_ends_with_its_status_and_its_last_words() {
    let ended = run_shell("echo no >&2; echo; exit 3", LONG).await.unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!(ended.told(), "exit status: 3: no");
    let ended = run_shell("printf '\\033[31mno\\007%09999d' 0 >&2", LONG).await;
    let told = ended.unwrap().told();
    assert!(told.starts_with("exit status: 0:  [31mno 000"), "{told}");
    assert!(told.len() < 300, "{told}");
    let ended = run_shell("echo $HOME-$PATH", LONG).await.unwrap();
    assert_eq!(ended.output.trim(), format!("-{PATH}"));
}

#[tokio::test]
async fn f16_a_program_that_hangs_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let script = format!(
        "sleep 1000 & echo $! > {0}; echo $$ >> {0}; wait",
        pids.display()
    );
    let ended = run_shell(&script, Duration::from_millis(500)).await;
    assert!(
        matches!(ended, Err(CommandError::TooLong { .. })),
        "{ended:?}"
    );
    let pids = std::fs::read_to_string(&pids).unwrap();
    assert_eq!(pids.lines().count(), 2, "{pids:?}");
    for pid in pids.lines() {
        wait_gone(pid).await;
    }
}

/// A killed process may wait for its parent to notice; it does nothing any more.
fn is_gone(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[tokio::test]
async fn f16_a_flood_is_cut_and_what_is_left_behind_keeps_nobody() {
    let ended = run_shell("yes | head -c 1000000; yes | head -c 90000 >&2", LONG)
        .await
        .unwrap();
    assert_eq!(ended.output.len(), OUTPUT_MAX);
    assert_eq!(ended.errors.len(), OUTPUT_MAX);
    let ended = run_shell("sleep 5 & echo done", Duration::from_secs(4)).await;
    assert_eq!(ended.unwrap().output.trim(), "done");
}

async fn ask(script: &str, limit: Duration) -> Result<Ended, CommandError> {
    run(&shell(script), Mounts::own(), limit, For::Answer).await
}

#[tokio::test]
async fn f16_what_an_answer_leaves_behind_is_killed_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let script = format!("sleep 1000 & echo $! > {}", pids.display());
    assert!(ask(&script, LONG).await.unwrap().forked);
    wait_gone(std::fs::read_to_string(&pids).unwrap().trim()).await;
    assert!(!ask("echo 1; sleep 0", LONG).await.unwrap().forked);
    let action = run_shell("sleep 2 & echo done", LONG).await.unwrap();
    assert!(!action.forked);
}

#[tokio::test]
async fn f16_an_answer_of_a_gigabyte_ends_at_once_with_all_who_write_it() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    for stream in ["", " >&2"] {
        let script = format!(
            "echo $$ > {}; yes | head -c 1000000000{stream}; sleep 1000",
            pids.display()
        );
        let ended = ask(&script, LONG).await;
        assert!(
            matches!(ended, Err(CommandError::TooMuch { .. })),
            "{ended:?}"
        );
        wait_gone(std::fs::read_to_string(&pids).unwrap().trim()).await;
    }
    // What fits is an answer.
    let ended = ask("yes | head -c 65536", LONG).await.unwrap();
    assert_eq!(ended.output.len(), OUTPUT_MAX);
}

async fn wait_gone(pid: &str) {
    for _ in 0..500 {
        if is_gone(pid) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_gone(pid), "{pid} lives");
}

#[tokio::test]
async fn a_probe_tells_a_program_that_is_there_and_starts_none() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    let ran = directory.path().join("ran");
    let name = program.display().to_string();
    let missing = probe(&name, Mounts::own()).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    std::fs::write(&program, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
    assert!(probe(&name, Mounts::own()).is_err(), "it may not be run");
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, all).unwrap();
    probe(&name, Mounts::own()).unwrap();
    assert!(!ran.exists());
    let lost = run(
        &["/nonexistent".to_owned()],
        Mounts::own(),
        LONG,
        For::Action,
    )
    .await;
    assert!(matches!(lost, Err(CommandError::Start { .. })), "{lost:?}");
}
