//! The check `sentinel-file`: a file whose existence asks for a reboot.
//!
//! Owns one look at the configured paths. Whoever may write below a watched directory of the host may
//! ask for a reboot, and nothing else: no link is followed to a sentinel or its list of packages, no
//! path leads out of the mounted directory, nothing is opened that could block, and nothing but the
//! list is read (faults.md F88). What is not a plain file is an error, never "not required".

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use slipway_api::checks::SENTINEL_FILE;

use super::{Check, Look, Patience, Reading, shown};

/// Most bytes read of a list of packages.
const PACKAGES_MAX: u64 = 64 * 1024;
/// Most packages named.
const NAMES_MAX: usize = 5;
/// Longest name shown.
const NAME_MAX: usize = 64;
/// Most packages counted.
const COUNTED_MAX: usize = 1000;
/// Where the host's directories are mounted.
const MOUNTS: &str = "/host";

/// The check.
pub struct SentinelFiles {
    paths: Vec<PathBuf>,
    patience: Patience,
}

impl SentinelFiles {
    /// Looks at these files; the first that is there is named.
    pub fn new(paths: &[PathBuf]) -> Self {
        Self {
            paths: paths.to_vec(),
            patience: Patience::default(),
        }
    }
}

impl Check for SentinelFiles {
    fn name(&self) -> &'static str {
        SENTINEL_FILE
    }

    fn look(&self) -> BoxFuture<'_, Look> {
        let paths = self.paths.clone();
        Box::pin(self.patience.look(move || Some(read(&paths))))
    }

    fn watched(&self) -> &[PathBuf] {
        &self.paths
    }
}

fn read(paths: &[PathBuf]) -> Reading {
    let mut problem = None;
    for path in paths {
        match exists(path) {
            Ok(true) => {
                let text = format!("{} exists{}", shown(path), packages(path));
                return Reading::required(text);
            }
            Ok(false) => {}
            Err(reason) => problem = problem.or(Some(reason)),
        }
    }
    match problem {
        Some(reason) => Reading::unknown(reason),
        None => Reading::not_required("no sentinel file exists"),
    }
}

fn exists(path: &Path) -> Result<bool, String> {
    let said = |reason: &str| format!("{}: {reason}", shown(path));
    match open(path, OFlag::O_PATH) {
        Ok(file) => match file.metadata() {
            Ok(metadata) if metadata.file_type().is_file() => Ok(true),
            Ok(_) => Err(said("not a plain file")),
            Err(error) => Err(said(&error.to_string())),
        },
        Err(Trouble::NotThere) => Ok(false),
        Err(Trouble::NotMounted(directory)) => {
            let directory = shown(&directory);
            Err(said(&format!("the host's {directory} is not mounted here")))
        }
        Err(Trouble::Refused) => Err(said("a link, or it leads through one")),
        Err(Trouble::Other(error)) => Err(said(error.desc())),
    }
}

/// Why there is no file in hand.
enum Trouble {
    /// There is none.
    NotThere,
    /// The directory of the host that holds it is away, and with it all that it says.
    NotMounted(PathBuf),
    /// The way to it is not a plain one.
    Refused,
    /// Another error.
    Other(Errno),
}

/// Opens without following a link, and without leaving the directory that the host's is mounted at.
fn open(path: &Path, flags: OFlag) -> Result<File, Trouble> {
    let (base, rest) = split(path).ok_or(Trouble::Other(Errno::EINVAL))?;
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).bits())
        .open(&base)
        .map_err(
            |error| match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
                Errno::ENOENT if base.starts_with(MOUNTS) => Trouble::NotMounted(base.clone()),
                Errno::ENOENT => Trouble::NotThere,
                other => Trouble::Other(other),
            },
        )?;
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let beneath = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags).resolve(beneath);
    match openat2(&directory, &rest, how) {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::ENOENT) => Err(Trouble::NotThere),
        Err(Errno::ELOOP | Errno::EXDEV) => Err(Trouble::Refused),
        Err(other) => Err(Trouble::Other(other)),
    }
}

/// The directory that is trusted, and the way from there, which is not: below `/host` the mount, as
/// the installer named it; elsewhere the directory of the file.
fn split(path: &Path) -> Option<(PathBuf, PathBuf)> {
    if let Ok(inside) = path.strip_prefix(MOUNTS) {
        let mut parts = inside.components();
        let base = Path::new(MOUNTS).join(parts.next()?);
        let rest = parts.as_path();
        return (!rest.as_os_str().is_empty()).then(|| (base, rest.to_owned()));
    }
    Some((path.parent()?.to_owned(), PathBuf::from(path.file_name()?)))
}

/// The names in `<sentinel>.pkgs`, which is for people only: any trouble means no names.
fn packages(sentinel: &Path) -> String {
    let mut name = sentinel.as_os_str().to_owned();
    name.push(".pkgs");
    let Ok(file) = open(Path::new(&name), OFlag::O_RDONLY | OFlag::O_NONBLOCK) else {
        return String::new();
    };
    let mut bytes = Vec::new();
    let plain = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !plain || file.take(PACKAGES_MAX).read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    named(&String::from_utf8_lossy(&bytes))
}

fn named(text: &str) -> String {
    let mut all: Vec<String> = Vec::new();
    for line in text.lines() {
        let visible = line.trim().chars().filter(char::is_ascii_graphic);
        let name: String = visible.take(NAME_MAX).collect();
        if !name.is_empty() && !all.contains(&name) {
            all.push(name);
        }
        if all.len() >= COUNTED_MAX {
            break;
        }
    }
    let more = match all.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    all.truncate(NAMES_MAX);
    if all.is_empty() {
        return String::new();
    }
    format!(", for {}{more}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use slipway_api::checks::CheckState::{NotRequired, Required, Unknown};
    use tempfile::TempDir;

    use super::*;

    /// A directory with a sentinel's path in it.
    fn sentinel() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reboot-required");
        (directory, file)
    }

    async fn look(paths: &[PathBuf]) -> Reading {
        SentinelFiles::new(paths).look().await.unwrap()
    }

    #[tokio::test]
    async fn existence_alone_asks_for_a_reboot() {
        let (directory, file) = sentinel();
        let paths = [directory.path().join("gone/reboot-needed"), file.clone()];
        assert_eq!(look(&paths).await.state, NotRequired);
        std::fs::write(&file, "").unwrap();
        let reading = look(&paths).await;
        assert_eq!(reading.state, Required);
        assert_eq!(reading.detail, format!("{} exists", file.display()));
    }

    #[tokio::test]
    async fn f88_what_is_not_a_plain_file_is_an_error_and_never_not_required() {
        let (directory, file) = sentinel();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "password").unwrap();
        let link = |target: &Path| std::os::unix::fs::symlink(target, &file).unwrap();
        for what in ["directory", "FIFO", "socket", "secret", "device", "nothing"] {
            match what {
                "directory" => std::fs::create_dir(&file).unwrap(),
                "FIFO" => nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap(),
                "socket" => drop(std::os::unix::net::UnixListener::bind(&file).unwrap()),
                "secret" => link(&secret),
                "device" => link(Path::new("/dev/zero")),
                _ => link(Path::new("/nowhere")),
            }
            let reading = look(std::slice::from_ref(&file)).await;
            assert_eq!(reading.state, Unknown, "{what}");
            assert!(
                reading.detail.contains("reboot-required: "),
                "{what}: {}",
                reading.detail
            );
            assert!(!reading.detail.contains("password"), "{what}");
            drop(std::fs::remove_file(&file));
            drop(std::fs::remove_dir(&file));
        }
    }

    #[test]
    fn f88_a_path_never_leads_through_a_link_nor_out_of_its_mount() {
        let root = tempfile::tempdir().unwrap();
        let path = |rest: &str| root.path().join(rest);
        std::fs::create_dir_all(path("run/inner")).unwrap();
        std::fs::write(path("run/inner/reboot-required"), "").unwrap();
        std::fs::write(path("outside"), "").unwrap();
        std::os::unix::fs::symlink("inner", path("run/link")).unwrap();
        let directory = File::open(path("run")).unwrap();
        let beneath = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let open = |rest: &str| {
            let how = OpenHow::new().flags(OFlag::O_PATH).resolve(beneath);
            openat2(&directory, rest, how).err()
        };
        assert_eq!(open("inner/reboot-required"), None);
        assert_eq!(open("link/reboot-required"), Some(Errno::ELOOP));
        assert_eq!(open("../outside"), Some(Errno::EXDEV));
        // Below /host, everything past the mount is untrusted.
        let (base, rest) = split(Path::new("/host/run/a/reboot-required")).unwrap();
        assert_eq!(
            (base, rest),
            ("/host/run".into(), "a/reboot-required".into())
        );
        assert_eq!(split(Path::new("/host/run")), None);
        assert_eq!(split(Path::new("/host")), None);
    }

    #[tokio::test]
    async fn a_mount_that_is_away_is_an_error_and_never_not_required() {
        let reading = look(&["/host/not-mounted-here/reboot-required".into()]).await;
        assert_eq!(reading.state, Unknown);
        assert!(
            reading.detail.contains("/not-mounted-here is not mounted"),
            "{}",
            reading.detail
        );
    }

    #[tokio::test]
    async fn a_sentinel_beside_one_that_cannot_be_judged_still_asks() {
        let directory = tempfile::tempdir().unwrap();
        let (bad, good) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::create_dir(&bad).unwrap();
        std::fs::write(&good, "").unwrap();
        assert_eq!(look(&[bad, good.clone()]).await.state, Required);
    }

    #[tokio::test]
    async fn packages_are_named_and_what_is_in_their_place_neither_hangs_nor_leaks() {
        let (directory, file) = sentinel();
        let list = directory.path().join("reboot-required.pkgs");
        std::fs::write(&file, "").unwrap();
        std::fs::write(&list, "linux-image\nlibc6\nlibc6\na\nb\nc\nd\ne\n").unwrap();
        let detail = look(std::slice::from_ref(&file)).await.detail;
        assert!(
            detail.ends_with("exists, for linux-image, libc6, a, b, c and 2 more"),
            "{detail}"
        );
        std::fs::remove_file(&list).unwrap();
        nix::unistd::mkfifo(&list, Mode::S_IRWXU).unwrap();
        assert!(
            look(std::slice::from_ref(&file))
                .await
                .detail
                .ends_with("exists")
        );
        std::fs::remove_file(&list).unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "password").unwrap();
        std::os::unix::fs::symlink(&secret, &list).unwrap();
        assert!(
            look(std::slice::from_ref(&file))
                .await
                .detail
                .ends_with("exists")
        );
    }
}
