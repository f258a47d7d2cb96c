//! A real browser without a screen, for pages that people look at.
//!
//! Owns Chromium's program, which Debian's packages hold and the set-up installs, and how it is run:
//! one page, one profile of its own, no network of its own accord.
//! Called by the suite of the timeline, and by `cargo xtask` for the set-up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Programs that will do, the smallest first.
const PROGRAMS: [&str; 3] = ["chromium-headless-shell", "chromium", "chromium-browser"];
/// Debian's packages: the browser, and a font, without which a page has no letters.
const PACKAGES: [&str; 2] = ["chromium-headless-shell", "fonts-dejavu-core"];
/// Where programs lie.
const DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/snap/bin"];
/// How long a page may take on two busy cores.
const BOUND: Duration = Duration::from_mins(2);

/// What the person prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark letters on a light ground.
    Light,
    /// Light letters on a dark ground.
    Dark,
}

/// Why there can be no browser on this computer; `None` where there can.
pub fn impossible() -> Option<String> {
    if program().is_ok() {
        return None;
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.lines().any(|line| line == "ID=debian") {
        return Some("Chromium is not installed, and this is no Debian to install it on".into());
    }
    (!nix::unistd::geteuid().is_root()).then(|| {
        format!(
            "Chromium is not installed: apt-get install {}",
            PACKAGES.join(" ")
        )
    })
}

/// Installs Debian's packages where there is no browser; true when something had to be done.
pub fn set_up() -> Result<bool> {
    if program().is_ok() {
        return Ok(false);
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-q", "-y", "--no-install-recommends"])
        .args(PACKAGES))?;
    program()?;
    Ok(true)
}

fn program() -> Result<PathBuf> {
    PROGRAMS
        .iter()
        .flat_map(|name| DIRECTORIES.map(|directory| Path::new(directory).join(name)))
        .find(|path| path.is_file())
        .context("there is no Chromium: cargo xtask setup installs it")
}

fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {shown}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown} failed: {text}");
    Ok(())
}

/// A page in a file of its own.
#[derive(Debug)]
pub struct Page {
    directory: TempDir,
}

impl Page {
    /// Of this HTML.
    pub fn new(html: &str) -> Result<Self> {
        let directory = tempfile::tempdir().context("failed to make a directory")?;
        fs::write(directory.path().join("page.html"), html).context("failed to write a page")?;
        Ok(Self { directory })
    }

    /// Opens it, and gives the document as the browser has it once scripts have run, and what the
    /// browser wrote to the console.
    pub async fn document(&self, scheme: Scheme, width: u32) -> Result<(String, String)> {
        let output = self.open(scheme, (width, 1000), "--dump-dom").await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let console: Vec<&str> = errors
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .collect();
        Ok((
            String::from_utf8(output.stdout).context("not UTF-8")?,
            console.join("\n"),
        ))
    }

    /// Takes a picture of it, as a PNG.
    pub async fn picture(&self, scheme: Scheme, size: (u32, u32), to: &Path) -> Result<()> {
        if to.exists() {
            fs::remove_file(to).context("failed to remove a picture")?;
        }
        let option = format!("--screenshot={}", to.display());
        self.open(scheme, size, &option).await?;
        let bytes = fs::read(to).context("failed to read the picture")?;
        ensure!(bytes.starts_with(b"\x89PNG"), "the picture is no PNG");
        Ok(())
    }

    async fn open(
        &self,
        scheme: Scheme,
        (width, height): (u32, u32),
        what: &str,
    ) -> Result<Output> {
        let at = self.directory.path();
        let preferred = match scheme {
            Scheme::Dark => 0,
            Scheme::Light => 1,
        };
        let mut command = tokio::process::Command::new(program()?);
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
            ])
            .args(["--disable-background-networking", "--no-first-run"])
            .args(["--enable-logging=stderr", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", at.join("profile").display()))
            .arg(format!("--blink-settings=preferredColorScheme={preferred}"))
            .arg(format!("--window-size={width},{height}"))
            .arg(what)
            .arg(format!("file://{}", at.join("page.html").display()))
            .env("HOME", at)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(BOUND, command.output())
            .await
            .context("the browser did not come to an end")?
            .context("failed to start the browser")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the browser failed: {errors}");
        Ok(output)
    }
}
