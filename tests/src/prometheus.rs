//! Real Prometheus and Alertmanager servers on loopback ports.
//!
//! Owns the programs, which Debian's packages hold: they are unpacked into the cache and never
//! installed, so that no daemon of this computer is started. Owns the servers' configuration, too.
//! Called by the suite of blockers, and by `cargo xtask` for the set-up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::cache;
use crate::control_plane::certificates::Authority;
use crate::control_plane::ports::free_port;
use crate::process::Process;
use crate::wait::wait_until;

/// Debian's packages, each with the program that it holds.
const PACKAGES: [(&str, &str); 2] = [
    ("prometheus", PROMETHEUS),
    ("prometheus-alertmanager", ALERTMANAGER),
];
const PROMETHEUS: &str = "prometheus";
const ALERTMANAGER: &str = "prometheus-alertmanager";
/// Debian's Alertmanager looks for its templates where its package would be installed: there they
/// are, in a mount namespace of its own.
const WITH_ITS_FILES: &str =
    "mount -t tmpfs tmpfs /usr/share && ln -s \"$0\" /usr/share/prometheus && exec \"$@\"";
/// How long a server may take to answer on two busy cores.
const START_BOUND: Duration = Duration::from_mins(1);
/// Time to end in order.
const STOP_BOUND: Duration = Duration::from_secs(15);
/// The user that a server with passwords knows, and its password.
pub const BASIC: (&str, &str) = ("slipway", "hush");
/// That password as bcrypt has it, at its lowest cost.
const BASIC_HASH: &str = "$2b$04$nf4xnU0AKU7YuBhXSXRSzu2.qHSYQWs8.iFDAPiHaG7I4QHdF1Nji";

/// Why the servers cannot be had on this computer; `None` where they can.
pub fn impossible() -> Option<String> {
    if programs().is_ok() {
        return None;
    }
    let there = |program: &str| Path::new("/usr/bin").join(program).is_file();
    (!there("apt-get") || !there("dpkg-deb")).then(|| {
        "Prometheus and Alertmanager are programs of Debian packages, and this is no Debian".into()
    })
}

/// Unpacks the packages into the cache; true when something had to be done.
pub fn set_up() -> Result<bool> {
    if programs().is_ok() {
        return Ok(false);
    }
    let root = root()?;
    let draft = root.with_extension("draft");
    if draft.exists() {
        fs::remove_dir_all(&draft).context("failed to remove a draft")?;
    }
    fs::create_dir_all(&draft).context("failed to make a directory")?;
    for (package, _) in PACKAGES {
        let mut download = Command::new("apt-get");
        download.args(["download", "-q", package]);
        if run(download.current_dir(&draft)).is_err() {
            // Its lists may be older than the archive.
            run(Command::new("apt-get").args(["update", "-q"]))?;
            run(&mut download)?;
        }
    }
    for entry in fs::read_dir(&draft).context("failed to list packages")? {
        let path = entry.context("failed to list packages")?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&draft))?;
            fs::remove_file(&path).context("failed to remove a package")?;
        }
    }
    if root.exists() {
        fs::remove_dir_all(&root).context("failed to remove what was there")?;
    }
    fs::rename(&draft, &root).context("failed to put the programs into place")?;
    programs()?;
    Ok(true)
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

fn root() -> Result<PathBuf> {
    Ok(cache::directory()?.join("prometheus"))
}

fn programs() -> Result<[PathBuf; 2]> {
    let directory = root()?.join("usr/bin");
    let programs = [directory.join(PROMETHEUS), directory.join(ALERTMANAGER)];
    for program in &programs {
        ensure!(
            program.is_file(),
            "{} is missing: cargo xtask setup unpacks it",
            program.display()
        );
    }
    Ok(programs)
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access<'a> {
    /// With a certificate of this authority.
    pub tls: Option<&'a Authority>,
    /// Only with a certificate of that authority of the client's own.
    pub client_certificate: bool,
    /// Only as [`BASIC`].
    pub password: bool,
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    process: Process,
    url: String,
    directory: TempDir,
}

impl Server {
    /// A Prometheus with these alerting rules, each a name and what follows `expr:` in YAML.
    pub async fn prometheus(rules: &str, access: Access<'_>) -> Result<Self> {
        let [program, _] = programs()?;
        let directory = tempfile::tempdir().context("failed to make a directory")?;
        let at = directory.path();
        let configuration =
            "global: {scrape_interval: 1s, evaluation_interval: 200ms}\nrule_files: [rules.yml]\n";
        write(&at.join("prometheus.yml"), configuration)?;
        write(&at.join("rules.yml"), rules)?;
        let (port, held) = free_port()?;
        let mut command = Command::new(program);
        command
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(at);
        let scheme = web_config(at, access, &mut command)?;
        drop(held);
        Self::start("prometheus", &command, (scheme, port), directory).await
    }

    /// An Alertmanager.
    pub async fn alertmanager() -> Result<Self> {
        let [_, program] = programs()?;
        let share = root()?.join("usr/share/prometheus");
        let directory = tempfile::tempdir().context("failed to make a directory")?;
        let at = directory.path();
        let configuration = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";
        write(&at.join("alertmanager.yml"), configuration)?;
        let (port, held) = free_port()?;
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command
            .args(["--mount", "sh", "-c", WITH_ITS_FILES])
            .arg(share)
            .arg(program)
            .arg("--config.file=alertmanager.yml")
            .arg("--storage.path=data")
            .arg("--cluster.listen-address=")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(at);
        drop(held);
        Self::start("alertmanager", &command, ("http", port), directory).await
    }

    async fn start(
        name: &str,
        command: &Command,
        (scheme, port): (&str, u16),
        directory: TempDir,
    ) -> Result<Self> {
        let log = directory.path().join("log");
        let mut server = Self {
            process: Process::spawn(name, command, &log)?,
            url: format!("{scheme}://127.0.0.1:{port}"),
            directory,
        };
        let what = format!("{name} to listen");
        let listening = wait_until(&what, START_BOUND, || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
            Ok(Some(()))
        });
        if let Err(error) = listening.await {
            let tail = server.process.log_tail(20);
            return Err(error.context(tail));
        }
        ensure!(
            server.process.is_running(),
            "{}",
            server.process.log_tail(20)
        );
        Ok(server)
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Other rules from now on.
    pub fn set_rules(&mut self, rules: &str) -> Result<()> {
        write(&self.directory.path().join("rules.yml"), rules)?;
        self.process.signal(Signal::SIGHUP)
    }

    /// It hangs: it takes connections and says nothing.
    pub async fn suspend(&mut self) -> Result<()> {
        self.process.suspend().await
    }

    /// It goes on.
    pub fn resume(&mut self) -> Result<()> {
        self.process.resume()
    }

    /// It goes down.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.terminate(STOP_BOUND).await?;
        Ok(())
    }
}

/// Rules that fire at once, and those that stay pending.
pub fn rules(firing: &[&str], pending: &[&str]) -> String {
    let mut rules = Vec::new();
    for name in firing {
        rules.push(format!("{{alert: {name}, expr: vector(1)}}"));
    }
    for name in pending {
        rules.push(format!("{{alert: {name}, expr: vector(1), for: 1h}}"));
    }
    let rules = rules.join(", ");
    format!("groups: [{{name: lab, rules: [{rules}]}}]\n")
}

fn web_config(directory: &Path, access: Access<'_>, command: &mut Command) -> Result<&'static str> {
    let mut configuration = String::new();
    if let Some(authority) = access.tls {
        let names = vec!["127.0.0.1".to_owned()];
        let server = authority.issue_server("prometheus", names)?;
        write(&directory.join("tls.crt"), &server.certificate)?;
        write(&directory.join("tls.key"), &server.key)?;
        write(&directory.join("ca.crt"), &authority.certificate())?;
        configuration.push_str("tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n");
        if access.client_certificate {
            configuration.push_str(
                "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n",
            );
        }
    }
    if access.password {
        let (user, _) = BASIC;
        let line = format!("basic_auth_users: {{{user}: '{BASIC_HASH}'}}\n");
        configuration.push_str(&line);
    }
    if !configuration.is_empty() {
        write(&directory.join("web.yml"), &configuration)?;
        command.arg("--web.config.file=web.yml");
    }
    Ok(if access.tls.is_some() {
        "https"
    } else {
        "http"
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}
