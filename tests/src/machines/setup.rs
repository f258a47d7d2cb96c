//! What a machine suite needs on this computer, and how to get it.
//!
//! Owns the Debian packages of the host and the cached root file system of the machines. That is
//! made by mmdebstrap from the very package sources that this computer uses; no other host is asked.
//! Called by `cargo xtask` before the suites, and by [`super::Lab`] to find the image.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use super::namespace::machines_directory;
use super::recipe;
use super::sources::{self, Sources};
use crate::images::sha256;

/// The host's packages, each with a program by which it is recognised.
const HOST_PACKAGES: [(&str, &str); 3] = [
    ("systemd-container", "systemd-nspawn"),
    ("mmdebstrap", "mmdebstrap"),
    ("iproute2", "ip"),
];
/// Where programs of root are looked for: a user's PATH may lack the sbin directories.
const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Where the kernel keeps how many inotify instances a user may have.
const INOTIFY_LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Enough for eight machines with kubelets beside the other suites; the kernel's default is 128.
const INOTIFY_INSTANCES: u32 = 1024;
/// How much of a failed command's output goes into a message.
const OUTPUT_LINES: usize = 12;

/// One thing done, or found done.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it was.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// Whether anything had to be done.
    pub changed: bool,
}

/// Why machines cannot run on this computer.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct NotRun {
    /// The reason, for a person.
    pub reason: String,
}

fn not_run<T>(reason: impl Into<String>) -> Result<T, NotRun> {
    Err(NotRun {
        reason: reason.into(),
    })
}

/// Whether machines can run here and now; the reason says what is missing and how to get it.
pub fn requirements() -> Result<(), NotRun> {
    host_requirements()?;
    match image() {
        Ok(image) if image.is_dir() => Ok(()),
        Ok(_) => not_run("the machines' file system is not built: run the setup"),
        Err(error) => not_run(format!("{error:#}")),
    }
}

/// As [`requirements`], but the machines' file system may still be missing: [`build_image`] makes it
/// without changing anything of this computer outside our cache.
pub fn host_requirements() -> Result<(), NotRun> {
    can_set_up()?;
    for (package, program) in HOST_PACKAGES {
        if find_program(program).is_none() {
            return not_run(format!(
                "{program} is missing: the setup installs {package}"
            ));
        }
    }
    Ok(())
}

/// Whether [`setup`] can provide on this computer whatever [`requirements`] asks for.
pub fn can_set_up() -> Result<(), NotRun> {
    if !nix::unistd::geteuid().is_root() {
        return not_run("machines need root");
    }
    if find_program("apt-get").is_none() || sources::codename().is_err() {
        return not_run("machines need Debian: their file system is made of its packages");
    }
    if !Path::new("/sys/fs/cgroup").is_dir() {
        return not_run("machines need control groups in /sys/fs/cgroup");
    }
    Ok(())
}

/// Installs and builds what is missing. On a new computer that takes about a minute.
pub fn setup() -> Result<Vec<Step>> {
    can_set_up()?;
    Ok(vec![install_packages()?, build_image()?, allow_watches()?])
}

/// Raises the kernel's limit of inotify instances where it is low: all machines draw on the one of
/// this computer's root, and an agent that gets none sees its sentinel a minute late.
pub fn allow_watches() -> Result<Step> {
    let started = Instant::now();
    let limit = fs::read_to_string(INOTIFY_LIMIT).context("failed to read inotify's limit")?;
    let limit: u32 = limit
        .trim()
        .parse()
        .context("inotify's limit is no number")?;
    let changed = limit < INOTIFY_INSTANCES;
    if changed {
        fs::write(INOTIFY_LIMIT, INOTIFY_INSTANCES.to_string())
            .context("failed to raise inotify's limit")?;
    }
    Ok(Step {
        name: format!("at least {INOTIFY_INSTANCES} inotify instances until this computer reboots"),
        took: started.elapsed(),
        changed,
    })
}

/// Installs the host's packages that are missing.
pub fn install_packages() -> Result<Step> {
    let started = Instant::now();
    let missing: Vec<&str> = HOST_PACKAGES
        .into_iter()
        .filter(|(_, program)| find_program(program).is_none())
        .map(|(package, _)| package)
        .collect();
    if !missing.is_empty() {
        let mut update = Command::new("apt-get");
        update.args(["update", "-q"]);
        run(&mut update)?;
        let mut install = Command::new("apt-get");
        install
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(&missing);
        run(&mut install)?;
    }
    let name = if missing.is_empty() {
        "Debian packages for machines".to_owned()
    } else {
        format!("Debian packages: {}", missing.join(", "))
    };
    Ok(Step {
        name,
        took: started.elapsed(),
        changed: !missing.is_empty(),
    })
}

/// Builds the machines' root file system, unless the cache holds it as it is described here and
/// with the package sources of this computer.
pub fn build_image() -> Result<Step> {
    let started = Instant::now();
    let sources = Sources::read()?;
    let image = image_of(&sources)?;
    let directory = machines_directory()?;
    fs::create_dir_all(&directory)
        .with_context(|| format!("failed to make {}", directory.display()))?;
    let mut changed = false;
    // Only one process builds; others find the result.
    let _building = lock(&directory.join("build.lock"), FlockArg::LockExclusive)?;
    if !image.is_dir() {
        changed = true;
        remove_others(&directory, &image)?;
        let draft = image.with_extension("draft");
        remove_tree(&draft)?;
        bootstrap(&sources, &draft, &directory)?;
        add_files(&draft)?;
        fs::rename(&draft, &image).context("failed to put the image into place")?;
    }
    Ok(Step {
        name: "file system of the machines".to_owned(),
        took: started.elapsed(),
        changed,
    })
}

/// Where the image for this computer and this recipe lies, or will lie.
pub(super) fn image() -> Result<PathBuf> {
    image_of(&Sources::read()?)
}

/// Keeps an image from being removed for as long as the lock is held.
pub(super) fn hold_image(image: &Path) -> Result<Flock<fs::File>> {
    lock(&image.with_extension("lock"), FlockArg::LockShared)
}

fn image_of(sources: &Sources) -> Result<PathBuf> {
    let fingerprint = fingerprint(sources);
    let short = fingerprint.get(..16).context("a digest is too short")?;
    Ok(machines_directory()?.join(format!("root-{short}")))
}

/// A digest of everything that goes into the image.
fn fingerprint(sources: &Sources) -> String {
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    parts.insert("sources".into(), format!("{sources:?}"));
    parts.insert("architecture".into(), std::env::consts::ARCH.into());
    parts.insert("packages".into(), recipe::PACKAGES.join(" "));
    parts.insert("excluded".into(), recipe::EXCLUDED_PATHS.join(" "));
    parts.insert("masked".into(), recipe::MASKED_UNITS.join(" "));
    parts.insert("enabled".into(), recipe::ENABLED_UNITS.join(" "));
    for added in &recipe::ADDED {
        let mode = if added.executable { "x" } else { "-" };
        parts.insert(format!("file {mode} {}", added.path), added.content.into());
    }
    sha256(format!("{parts:?}").as_bytes())
}

fn bootstrap(sources: &Sources, root: &Path, directory: &Path) -> Result<()> {
    let files = tempfile::Builder::new()
        .prefix("sources-")
        .tempdir_in(directory)
        .context("failed to make a directory")?;
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--quiet", "--variant=minbase", "--mode=root"])
        .arg("--format=directory")
        .arg(format!("--include={}", recipe::PACKAGES.join(",")));
    for path in recipe::EXCLUDED_PATHS {
        command.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    // An empty suite: the sources say which.
    command.arg("").arg(root);
    for file in sources.write(files.path())? {
        command.arg(file);
    }
    run(&mut command)
}

fn add_files(root: &Path) -> Result<()> {
    let units = root.join("etc/systemd/system");
    // Whatever packages enabled: each machine says for itself what it starts.
    remove_tree(&root.join(recipe::WANTS))?;
    fs::create_dir_all(root.join(recipe::WANTS)).context("failed to make a directory")?;
    for unit in recipe::MASKED_UNITS {
        link("/dev/null", &units.join(unit))?;
    }
    for added in &recipe::ADDED {
        let path = root.join(added.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("failed to make {}", parent.display()))?;
        }
        remove_file(&path)?;
        fs::write(&path, added.content)
            .with_context(|| format!("failed to write {}", path.display()))?;
        let mode = if added.executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .with_context(|| format!("failed to set the mode of {}", path.display()))?;
    }
    for unit in recipe::ENABLED_UNITS {
        let target = format!("/etc/systemd/system/{unit}");
        link(&target, &root.join(recipe::WANTS).join(unit))?;
    }
    // The host's name is given at each start.
    remove_file(&root.join("etc/hostname"))
}

/// Makes a link, in place of whatever is there.
fn link(target: &str, path: &Path) -> Result<()> {
    remove_file(path)?;
    symlink(target, path).with_context(|| format!("failed to link {}", path.display()))
}

pub(super) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes images of other recipes that no lab uses.
fn remove_others(directory: &Path, keep: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).context("failed to list images")? {
        let path = entry.context("failed to list images")?.path();
        let is_image = path.extension().is_none()
            && path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("root-"));
        if !is_image || path == keep {
            continue;
        }
        // A lab that runs on it holds the lock.
        if let Ok(held) = lock(
            &path.with_extension("lock"),
            FlockArg::LockExclusiveNonblock,
        ) {
            remove_tree(&path)?;
            remove_file(&path.with_extension("lock"))?;
            drop(held);
        }
    }
    Ok(())
}

fn lock(path: &Path, how: FlockArg) -> Result<Flock<fs::File>> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    Flock::lock(file, how)
        .map_err(|(_, error)| error)
        .with_context(|| format!("failed to lock {}", path.display()))
}

fn find_program(name: &str) -> Option<PathBuf> {
    PROGRAM_DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
}

/// Runs a command to its end; an error holds the end of its output.
fn run(command: &mut Command) -> Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {shown}"))?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = output.stdout;
    text.write_all(&output.stderr)
        .context("failed to join the output")?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(OUTPUT_LINES)..);
    ensure!(
        !lines.is_empty(),
        "{shown} failed without a word: {}",
        output.status
    );
    bail!("{shown} failed:\n{}", tail.unwrap_or_default().join("\n"))
}
