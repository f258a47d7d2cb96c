//! Sentinel files in a directory that somebody else fills: only a plain file asks, only nothing at all
//! does not, and no word of a file outside is told (faults.md F88).

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use arbitrary::Unstructured;
use nix::sys::stat::Mode;
use slipway_api::checks::CheckState;
use slipway_node_agent::checks::Check;
use slipway_node_agent::checks::sentinel::SentinelFiles;

use crate::input::{byte, bytes, one_of, runtime, scratch, text};

const SECRET: &str = "pa55word";
const PLACES: [&str; 6] = [
    "reboot-required",
    "reboot-required.pkgs",
    "run",
    "run/reboot-required",
    "run/reboot-required.pkgs",
    "run/inner",
];

pub(crate) fn run(input: &[u8]) {
    let plain = input.iter().filter(|byte| byte.is_ascii_graphic());
    let plain: Vec<u8> = plain.copied().collect();
    // A fuzzer reads the constants of its program: one that knows the secret may tell it.
    if String::from_utf8_lossy(&plain).contains(SECRET) {
        return;
    }
    let mut u = Unstructured::new(input);
    let root = scratch();
    let watched = root.path().join("watched");
    fs::create_dir(&watched).unwrap();
    fs::write(root.path().join("secret"), SECRET).unwrap();
    for _ in 0..byte(&mut u) % 10 {
        let place = watched.join(one_of(&mut u, &PLACES));
        change(&mut u, root.path(), &place);
    }
    let path = path(&mut u, &watched);
    let runtime = runtime(false);
    let reading = runtime.block_on(SentinelFiles::new(std::slice::from_ref(&path)).look());
    let reading = reading.expect("this check always applies");
    assert!(!reading.detail.contains(SECRET), "{}", reading.detail);
    assert_eq!(
        reading.state,
        expected(&path),
        "{}: {}",
        path.display(),
        reading.detail
    );
    let packages = PathBuf::from(format!("{}.pkgs", path.display()));
    let listed = reading.detail.rsplit(" exists").next();
    if reading.state == CheckState::Required && listed.is_some_and(|text| !text.is_empty()) {
        let plain = fs::symlink_metadata(&packages).is_ok_and(|found| found.is_file());
        assert!(plain, "a list through a link: {}", reading.detail);
    }
}

/// What the directory's owner does to it. Whatever cannot be done changes nothing.
fn change(u: &mut Unstructured<'_>, root: &Path, place: &Path) {
    let done = match byte(u) % 7 {
        0 => {
            let content = bytes(u, 64);
            // Never into a FIFO, which would wait for a reader.
            File::create_new(place).and_then(|mut file| file.write_all(&content))
        }
        1 => fs::create_dir(place),
        2 => {
            let targets = [
                "../secret",
                "secret",
                "..",
                ".",
                "/",
                "reboot-required",
                "/dev/zero",
            ];
            let target = one_of(u, &targets);
            match target {
                "secret" => symlink(root.join(target), place),
                _ => symlink(target, place),
            }
        }
        3 => nix::unistd::mkfifo(place, Mode::S_IRWXU).map_err(Into::into),
        4 => fs::remove_file(place).or_else(|_| fs::remove_dir_all(place)),
        5 => fs::rename(
            place,
            place.with_file_name(one_of(u, &["reboot-required", "run"])),
        ),
        _ => std::os::unix::net::UnixListener::bind(place).map(drop),
    };
    drop(done);
}

/// The path that the installer has named, or one that is none.
fn path(u: &mut Unstructured<'_>, watched: &Path) -> PathBuf {
    // Never another absolute one: a file of this machine is nobody's sentinel, and below /host another
    // rule holds.
    let below = |place: &Path, text: String| place.join(text.trim_start_matches('/'));
    match byte(u) % 4 {
        0 => watched.join(PLACES[0]),
        1 => watched.join(one_of(u, &PLACES)),
        2 => below(&watched.join(one_of(u, &PLACES)), text(u, 32)),
        _ => below(watched, text(u, 255)),
    }
}

/// The same, told from what the file system says of the path itself.
fn expected(path: &Path) -> CheckState {
    let Some((directory, name)) = path.parent().zip(path.file_name()) else {
        return CheckState::Unknown;
    };
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return CheckState::NotRequired,
        Ok(_) | Err(_) => return CheckState::Unknown,
    }
    match fs::symlink_metadata(directory.join(name)) {
        Ok(found) if found.is_file() => CheckState::Required,
        Err(error) if error.kind() == ErrorKind::NotFound => CheckState::NotRequired,
        Ok(_) | Err(_) => CheckState::Unknown,
    }
}
