//! The host's PID 1: whether the agent sees it, the signal that makes it reboot the host, and the way
//! into its mount namespace.
//!
//! In a pod that does not share the host's PID namespace, PID 1 is the agent itself or some other
//! program of the pod: a signal to it, or a command in its namespace, would be about the wrong
//! machine. So everything here asks first who PID 1 is.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// What systemd calls itself as PID 1.
const SYSTEMD: &str = "systemd";
const INIT: Pid = Pid::from_raw(1);
/// SIGRTMIN+5: systemd starts reboot.target. 34 is glibc's SIGRTMIN, which systemd counts from.
const REBOOT_SIGNAL: libc::c_int = 34 + 5;

/// The host's PID 1, as /proc shows it.
#[derive(Clone, Debug)]
pub struct Init {
    proc: PathBuf,
}

impl Default for Init {
    fn default() -> Self {
        Self::of("/proc".into())
    }
}

impl Init {
    /// `proc` is the process file system of the agent.
    pub fn of(proc: PathBuf) -> Self {
        Self { proc }
    }

    /// Whether PID 1 is the host's systemd.
    ///
    /// # Errors
    /// Why it is not, as a sentence.
    pub fn verify(&self) -> Result<(), String> {
        let path = self.proc.join("1/comm");
        match std::fs::read_to_string(&path) {
            Ok(name) if name.trim() == SYSTEMD => Ok(()),
            Ok(name) => Err(format!(
                "PID 1 is {:?}, not the host's systemd: the agent's pod needs hostPID (agent.profile)",
                name.trim()
            )),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Whether the signal could be sent.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn may_signal(&self) -> Result<(), String> {
        self.verify()?;
        kill(INIT, None).map_err(|error| format!("the host's PID 1 may not be signalled: {error}"))
    }

    /// Makes systemd reboot the host. Passes over logind: nobody is asked, and no lock delays it.
    ///
    /// # Errors
    /// Why nothing was sent, as a sentence.
    pub fn signal_reboot(&self) -> Result<(), String> {
        self.may_signal()?;
        #[expect(unsafe_code, reason = "nix has no real-time signals")]
        // SAFETY: a system call on two numbers; it touches no memory of ours.
        let answer = unsafe { libc::kill(INIT.as_raw(), REBOOT_SIGNAL) };
        match Errno::result(answer) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the signal was refused: {error}")),
        }
    }

    /// The host's mount namespace, to run a command in.
    ///
    /// # Errors
    /// Why it is out of reach, as a sentence.
    pub fn mounts(&self) -> Result<Mounts, String> {
        self.verify()?;
        let open = |name: &str| {
            let path = self.proc.join(name);
            let file = File::open(&path);
            let file = file.and_then(|file| Ok((file.metadata()?.ino(), file)));
            file.map_err(|error| format!("{}: {error}", path.display()))
        };
        let (host, file) = open("1/ns/mnt")?;
        let (own, _) = open("self/ns/mnt")?;
        Ok(Mounts((host != own).then_some(file)))
    }
}

/// A mount namespace that a child enters before its program is started; none where it is our own.
#[derive(Debug)]
pub struct Mounts(Option<File>);

impl Mounts {
    /// The mounts of this very process.
    pub const fn own() -> Self {
        Self(None)
    }

    /// Enters it. Works only in a process with one thread that shares its directories with nobody:
    /// between fork and exec. Allocates nothing, as that place demands.
    ///
    /// # Errors
    /// EPERM without the capabilities `SYS_ADMIN` and `SYS_CHROOT`.
    pub fn enter(&self) -> io::Result<()> {
        match &self.0 {
            Some(file) => Ok(setns(file, CloneFlags::CLONE_NEWNS)?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(name: &str) -> (tempfile::TempDir, Init) {
        let proc = tempfile::tempdir().unwrap();
        std::fs::create_dir(proc.path().join("1")).unwrap();
        std::fs::write(proc.path().join("1/comm"), format!("{name}\n")).unwrap();
        let init = Init::of(proc.path().to_owned());
        (proc, init)
    }

    #[test]
    fn f21_a_pid_1_that_is_not_the_hosts_systemd_is_neither_signalled_nor_entered() {
        let (_directory, pod) = init("slipway-node-ag");
        let why = pod.verify().unwrap_err();
        assert!(
            why.contains("slipway-node-ag") && why.contains("hostPID"),
            "{why}"
        );
        assert_eq!(pod.may_signal().unwrap_err(), why);
        assert_eq!(pod.signal_reboot().unwrap_err(), why);
        assert_eq!(pod.mounts().unwrap_err(), why);
        let nothing = Init::of("/nonexistent".into());
        assert!(nothing.signal_reboot().is_err() && nothing.mounts().is_err());
    }

    #[test]
    fn a_namespace_that_cannot_be_opened_is_out_of_reach() {
        let (_directory, host) = init("systemd");
        assert!(host.verify().is_ok());
        assert!(host.mounts().unwrap_err().contains("1/ns/mnt"));
    }
}
