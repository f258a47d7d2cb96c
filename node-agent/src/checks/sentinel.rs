//! The check `sentinel-file`: a file whose existence asks for a reboot.
//!
//! Owns one reading of the configured paths. Never opens a sentinel itself and follows no link to
//! one (faults.md F88); what is not a plain file is an error, and an error is never "not required".

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use slipway_client::simulate;

/// Longest that a reading may take: a file system that hangs must not stop the agent (F16).
const READ_LIMIT: Duration = Duration::from_secs(30);
/// Most bytes read of a list of packages.
const PACKAGES_MAX: u64 = 64 * 1024;
/// Most packages named.
const NAMES_MAX: usize = 5;
/// Longest name shown.
const NAME_MAX: usize = 64;

/// What the sentinel files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// One exists.
    Required {
        /// The first that does, as the host knows it.
        path: String,
        /// Packages that asked for it.
        packages: Packages,
    },
    /// None exists.
    NotRequired,
    /// One cannot be judged, and none exists.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Packages that ask for a reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// The first names.
    pub names: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

impl Reading {
    /// True when both say the same, whatever the packages are.
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Required { path: one, .. }, Self::Required { path: two, .. }) => one == two,
            (Self::NotRequired, Self::NotRequired)
            | (Self::Unknown { .. }, Self::Unknown { .. }) => true,
            (Self::Required { .. } | Self::NotRequired | Self::Unknown { .. }, _) => false,
        }
    }
}

/// Reads all sentinels, bounded in time.
pub async fn read(paths: &[PathBuf]) -> Reading {
    let paths = paths.to_vec();
    let reading = simulate::off_thread(move || read_now(&paths));
    let unknown = |reason: &str| Reading::Unknown {
        reason: reason.to_owned(),
    };
    match tokio::time::timeout(READ_LIMIT, reading).await {
        Ok(Ok(reading)) => reading,
        Ok(Err(_)) => unknown("the check failed"),
        Err(_) => unknown("the file system did not answer within 30s"),
    }
}

fn read_now(paths: &[PathBuf]) -> Reading {
    let mut problem = None;
    for path in paths {
        match exists(path) {
            Ok(true) => {
                return Reading::Required {
                    path: shown(path),
                    packages: packages(path),
                };
            }
            Ok(false) => {}
            Err(reason) => problem = problem.or(Some(reason)),
        }
    }
    problem.map_or(Reading::NotRequired, |reason| Reading::Unknown { reason })
}

fn exists(path: &Path) -> Result<bool, String> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_file() => Ok(true),
        Ok(_) => Err(format!("{} is not a plain file", shown(path))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("{}: {error}", shown(path))),
    }
}

/// The path as people on the host know it: the host's directories are mounted below `/host`.
fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    let host = text
        .strip_prefix("/host")
        .filter(|rest| rest.starts_with('/'));
    host.unwrap_or(&text).to_owned()
}

/// The names in `<sentinel>.pkgs`, which is for people only: any trouble means no names.
fn packages(sentinel: &Path) -> Packages {
    let mut name = sentinel.as_os_str().to_owned();
    name.push(".pkgs");
    // Non-blocking, no link: a FIFO in its place must not hang the check.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
        .open(PathBuf::from(name));
    let Ok(file) = file else {
        return Packages::default();
    };
    let mut bytes = Vec::new();
    let plain = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !plain || file.take(PACKAGES_MAX).read_to_end(&mut bytes).is_err() {
        return Packages::default();
    }
    names(&String::from_utf8_lossy(&bytes))
}

fn names(text: &str) -> Packages {
    let mut all: Vec<String> = Vec::new();
    for line in text.lines() {
        let visible = line.trim().chars().filter(char::is_ascii_graphic);
        let name: String = visible.take(NAME_MAX).collect();
        if !name.is_empty() && !all.contains(&name) {
            all.push(name);
        }
        if all.len() > 999 {
            break;
        }
    }
    let more = all.len().saturating_sub(NAMES_MAX);
    all.truncate(NAMES_MAX);
    Packages { names: all, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(path: &Path) -> Reading {
        Reading::Required {
            path: shown(path),
            packages: Packages::default(),
        }
    }

    #[tokio::test]
    async fn existence_alone_asks_for_a_reboot() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reboot-required");
        let paths = [directory.path().join("gone/reboot-needed"), file.clone()];
        assert_eq!(read(&paths).await, Reading::NotRequired);
        std::fs::write(&file, "").unwrap();
        assert_eq!(read(&paths).await, required(&file));
    }

    #[tokio::test]
    async fn f88_what_is_not_a_plain_file_is_an_error_and_never_not_required() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reboot-required");
        std::fs::create_dir(&file).unwrap();
        let paths = [file.clone()];
        assert!(matches!(read(&paths).await, Reading::Unknown { .. }));
        std::fs::remove_dir(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&paths).await, Reading::Unknown { .. }));
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(matches!(read(&paths).await, Reading::Unknown { .. }));
    }

    #[tokio::test]
    async fn a_sentinel_beside_one_that_cannot_be_judged_still_asks() {
        let directory = tempfile::tempdir().unwrap();
        let (bad, good) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::create_dir(&bad).unwrap();
        std::fs::write(&good, "").unwrap();
        assert_eq!(read(&[bad, good.clone()]).await, required(&good));
    }

    #[tokio::test]
    async fn packages_are_named_and_a_fifo_in_their_place_does_not_hang() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reboot-required");
        let list = directory.path().join("reboot-required.pkgs");
        std::fs::write(&file, "").unwrap();
        std::fs::write(&list, "linux-image\nlibc6\nlibc6\na\nb\nc\nd\ne\n").unwrap();
        let Reading::Required { packages, .. } = read(std::slice::from_ref(&file)).await else {
            panic!("not required");
        };
        assert_eq!(packages.names, ["linux-image", "libc6", "a", "b", "c"]);
        assert_eq!(packages.more, 2);
        std::fs::remove_file(&list).unwrap();
        nix::unistd::mkfifo(&list, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(std::slice::from_ref(&file)).await, required(&file));
    }

    #[test]
    fn paths_are_shown_as_the_host_knows_them() {
        assert_eq!(
            shown(Path::new("/host/run/reboot-required")),
            "/run/reboot-required"
        );
        assert_eq!(shown(Path::new("/hostile/x")), "/hostile/x");
    }
}
