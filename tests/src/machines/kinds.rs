//! What kinds of machines there are, and what is on their disks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::namespace::machine_address;
use crate::cache;

/// What a machine is to be.
#[derive(Debug, Clone)]
pub struct MachineOptions {
    /// From 1; it decides the name `nN`, the address 10.99.0.(10+N) and the pods' 10.244.N.0/24.
    pub number: u8,
    /// What runs on it.
    pub kind: MachineKind,
    /// Files written to its disk before the first start, over those of the image and the kind.
    pub files: Vec<File>,
    /// Directories and files of this computer that it sees.
    pub binds: Vec<Bind>,
}

impl MachineOptions {
    /// A machine with nothing of the caller's own.
    pub fn new(number: u8, kind: MachineKind) -> Self {
        Self {
            number,
            kind,
            files: Vec::new(),
            binds: Vec::new(),
        }
    }
}

/// What runs on a machine, beside systemd, D-Bus and logind.
#[derive(Debug, Clone)]
pub enum MachineKind {
    /// Nothing.
    Plain,
    /// A node agent as a service of the machine; a test plays the kubelet.
    Agent(AgentUnit),
    /// containerd and a kubelet.
    Kubelet(Kubelet),
}

/// A node agent that runs as a service.
///
/// It is started once the file `token` exists in [`AgentUnit::directory`], and again whenever it
/// ends. Before that, [`AgentUnit::prepare`] must have said how.
#[derive(Debug, Clone)]
pub struct AgentUnit {
    /// The agent's program, statically linked or with the libraries of the image.
    pub binary: PathBuf,
    /// A directory of this computer that the machine sees at [`AgentUnit::MOUNT`]: for the token
    /// and the kubeconfig, and for how the program is started.
    pub directory: PathBuf,
}

impl AgentUnit {
    /// Where the machine sees [`AgentUnit::directory`].
    pub const MOUNT: &str = "/opt/lab/agent";
    /// The service.
    pub const UNIT: &str = "slipway-agent.service";

    /// Where the program reads its token, once it exists here.
    pub fn token(&self) -> PathBuf {
        self.directory.join("token")
    }

    /// Says how the program is started from its next start on.
    pub fn prepare(&self, arguments: &[String], environment: &[(String, String)]) -> Result<()> {
        // A script, because systemd's own quoting in units and environment files is another
        // language, with words that it cannot say.
        let mut script = String::from("#!/bin/sh\n");
        for (key, value) in environment {
            script = script + "export " + key + "=" + &quote(value) + "\n";
        }
        script.push_str("exec /usr/local/bin/slipway-agent");
        for argument in arguments {
            script = script + " " + &quote(argument);
        }
        script.push('\n');
        let path = self.directory.join("start");
        let draft = self.directory.join("start.draft");
        fs::write(&draft, script)
            .and_then(|()| fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)))
            // The service may be about to run it.
            .and_then(|()| fs::rename(&draft, &path))
            .with_context(|| format!("failed to write {}", path.display()))
    }
}

/// What a kubelet's machine needs.
#[derive(Debug, Clone)]
pub struct Kubelet {
    /// A kubeconfig of the user `system:node:nN` in the group `system:nodes`.
    pub kubeconfig: PathBuf,
    /// A directory with OCI archives that are imported at the start; pods' sandboxes need
    /// `localhost/pause:1`.
    pub images: PathBuf,
    /// The port of the API server at 10.99.0.1.
    pub api_server_port: u16,
    /// Labels that the node registers with.
    pub labels: BTreeMap<String, String>,
}

/// A file on a machine's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where, from the machine's root.
    pub path: String,
    /// What it holds.
    pub content: String,
}

impl File {
    /// A file.
    pub fn new(path: &str, content: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            content: content.into(),
        }
    }
}

/// Something of this computer that a machine sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Where it lies on this computer.
    pub source: PathBuf,
    /// Where the machine sees it.
    pub target: String,
    /// Whether the machine may write to it.
    pub writable: bool,
}

impl Bind {
    /// Something the machine may only read.
    pub fn read_only(source: &Path, target: &str) -> Self {
        Self {
            source: source.to_owned(),
            target: target.to_owned(),
            writable: false,
        }
    }

    /// Something the machine may write to.
    pub fn writable(source: &Path, target: &str) -> Self {
        Self {
            writable: true,
            ..Self::read_only(source, target)
        }
    }

    pub(super) fn argument(&self) -> String {
        let option = if self.writable { "bind" } else { "bind-ro" };
        format!("--{option}={}:{}", self.source.display(), self.target)
    }
}

impl MachineKind {
    /// The files of this kind.
    pub(super) fn files(&self, number: u8) -> Result<Vec<File>> {
        let mut files = Vec::new();
        let kind = match self {
            Self::Plain => "KIND=plain".to_owned(),
            Self::Agent(_) => "KIND=agent".to_owned(),
            Self::Kubelet(kubelet) => {
                let kubeconfig = fs::read_to_string(&kubelet.kubeconfig)
                    .with_context(|| format!("failed to read {}", kubelet.kubeconfig.display()))?;
                files.push(File::new("etc/lab/kubeconfig", kubeconfig));
                let labels: Vec<String> = kubelet
                    .labels
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                format!(
                    "KIND=kubelet\nAPI_PORT={}\nLABELS={}",
                    kubelet.api_server_port,
                    labels.join(",")
                )
            }
        };
        let address = machine_address(number);
        let environment = format!("NUM={number}\nIP={address}\n{kind}\n");
        files.push(File::new("etc/lab/env", environment));
        Ok(files)
    }

    /// What of this computer this kind sees; directories of its own are made below `directory`.
    pub(super) fn binds(&self, directory: &Path) -> Result<Vec<Bind>> {
        match self {
            Self::Plain => Ok(Vec::new()),
            Self::Agent(agent) => Ok(vec![
                Bind::read_only(&agent.directory, AgentUnit::MOUNT),
                Bind::read_only(&agent.binary, "/usr/local/bin/slipway-agent"),
            ]),
            Self::Kubelet(kubelet) => {
                let mut binds = vec![
                    Bind::read_only(&kubelet.images, "/opt/lab/images"),
                    // One program for all; under this name it is the kubelet.
                    Bind::read_only(&cache::control_plane_binary()?, "/usr/local/bin/kubelet"),
                ];
                // Overlays of containers cannot lie on the overlay of the machine.
                for name in ["containerd", "kubelet"] {
                    let source = directory.join(name);
                    fs::create_dir_all(&source)
                        .with_context(|| format!("failed to make {}", source.display()))?;
                    binds.push(Bind::writable(&source, &format!("/var/lib/{name}")));
                }
                Ok(binds)
            }
        }
    }

    /// The services of this kind.
    pub(super) fn units(&self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Agent(_) => &[AgentUnit::UNIT],
            Self::Kubelet(_) => &["containerd.service", "kubelet.service"],
        }
    }
}

/// A word as a shell reads it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_gets_its_words_as_they_are() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let agent = AgentUnit {
            binary: "/bin/true".into(),
            directory: directory.path().to_owned(),
        };
        let words = "it's \"$HOME\"\n`x` \\ %n".to_owned();
        agent.prepare(&["--flag=a b".into()], &[("WORDS".into(), words.clone())])?;
        let script = fs::read_to_string(directory.path().join("start"))?;
        // Started here, with a program in the agent's place that shows what it was given.
        let shown = script.replace(
            "/usr/local/bin/slipway-agent",
            r#"sh -c 'printf "%s|%s" "$WORDS" "$1"' sh"#,
        );
        let output = std::process::Command::new("sh")
            .args(["-ec", &shown])
            .output()?;
        assert_eq!(
            String::from_utf8(output.stdout)?,
            format!("{words}|--flag=a b")
        );
        Ok(())
    }
}
