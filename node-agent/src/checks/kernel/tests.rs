//! Recorded hosts: one file for each family of distributions, its trees made in a directory.

use slipway_api::checks::CheckState;

use super::*;

/// One host as its file tells it.
#[derive(Default)]
struct Host<'a> {
    name: &'a str,
    running: &'a str,
    expect: &'a str,
    paths: Vec<&'a str>,
}

fn hosts(text: &str) -> Vec<Host<'_>> {
    let mut all: Vec<Host<'_>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("case: ") {
            all.push(Host {
                name,
                ..Host::default()
            });
            continue;
        }
        let host = all.last_mut().unwrap();
        match line.split_once(": ") {
            Some(("running", running)) => host.running = running,
            Some(("expect", expect)) => host.expect = expect,
            _ => host.paths.push(line),
        }
    }
    all
}

/// `a/b/` is a directory, `a -> b` a link, `a = b` a file with this text, anything else a file.
fn build(root: &Path, line: &str) {
    let (linked, target) = line.split_once(" -> ").unzip();
    let (written, text) = line.split_once(" = ").unzip();
    let path = root.join(linked.or(written).unwrap_or(line));
    if line.ends_with('/') {
        return fs::create_dir_all(path).unwrap();
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match target {
        Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        None => fs::write(path, text.unwrap_or_default()).unwrap(),
    }
}

fn places(root: &Path) -> Places {
    Places {
        boot: root.join("boot"),
        modules: root.join("lib/modules"),
        running: root.join("osrelease"),
    }
}

async fn look(root: &Path) -> Look {
    Kernel::new(places(root)).look().await
}

async fn every_host_is_judged_as_told(text: &str) {
    let hosts = hosts(text);
    assert!(hosts.len() > 4);
    for state in [" Required", " NotRequired", " Unknown"] {
        assert!(
            text.contains(&format!("expect:{state}")),
            "no host is{state}"
        );
    }
    for host in hosts {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("osrelease"), format!("{}\n", host.running)).unwrap();
        for line in &host.paths {
            build(root.path(), line);
        }
        let look = look(root.path()).await;
        let told = look.map_or_else(
            || "absent".to_owned(),
            |reading| format!("{:?} {}", reading.state, reading.detail),
        );
        let (state, detail) = host.expect.split_once(' ').unwrap_or((host.expect, ""));
        let right = told.split(' ').next() == Some(state) && told.contains(detail);
        assert!(right, "{}: {told}", host.name);
    }
}

#[tokio::test]
async fn kernels_of_debian_and_ubuntu() {
    every_host_is_judged_as_told(include_str!("hosts/debian.txt")).await;
}

#[tokio::test]
async fn kernels_of_red_hat_and_its_kin() {
    every_host_is_judged_as_told(include_str!("hosts/redhat.txt")).await;
}

#[tokio::test]
async fn kernels_of_suse() {
    every_host_is_judged_as_told(include_str!("hosts/suse.txt")).await;
}

#[tokio::test]
async fn kernels_of_arch() {
    every_host_is_judged_as_told(include_str!("hosts/arch.txt")).await;
}

#[tokio::test]
async fn a_running_release_that_cannot_be_read_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    build(root.path(), "boot/vmlinuz-6.1.0-13-amd64");
    build(root.path(), "lib/modules/6.1.0-13-amd64/kernel/");
    let reading = look(root.path()).await.unwrap();
    assert_eq!(reading.state, CheckState::Unknown);
    nix::unistd::mkfifo(
        &root.path().join("osrelease"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    let reading = look(root.path()).await.unwrap();
    assert!(
        reading.detail.contains("not a plain file"),
        "{}",
        reading.detail
    );
}

#[tokio::test]
async fn a_directory_without_end_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("osrelease"), "6.1.0-13-amd64").unwrap();
    fs::create_dir_all(root.path().join("boot")).unwrap();
    for number in 0..=ENTRIES_MAX {
        fs::write(root.path().join(format!("boot/vmlinuz-{number}")), "").unwrap();
    }
    let reading = look(root.path()).await.unwrap();
    assert_eq!(reading.state, CheckState::Unknown);
}
