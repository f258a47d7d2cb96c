//! What must survive a reboot on the host's own disk: the last commit, and the call made for it.
//!
//! Owns the file and the lock beside it. The file is a line of JSON and a line with its checksum: a bit
//! that flipped in a number or in a boot ID would let a fence be used twice, or a call be forgotten.
//! The API server may be restored from a backup, the lease
//! deleted: the journal still knows which fence was used up and whether a reboot may be coming.
//! It is never needed to undo anything.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::facts::JournalView;

const FILE: &str = "journal.json";
const FILE_NEW: &str = "journal.json.new";
const LOCK: &str = "lock";
/// Largest file that is read: ours is a few hundred bytes.
const SIZE_MAX: u64 = 64 * 1024;

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Journal {
    /// UID of the Node at the last commit; for people.
    #[serde(rename = "nodeUID")]
    pub node_uid: String,
    /// Highest fence committed; 0 for none. A grant at or below is refused.
    pub committed: i64,
    /// Boot ID at that commit.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// The reboot call made for it, unless it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// How often the call was refused.
    pub refusals: u32,
    /// Time since boot of the last refusal, in milliseconds.
    pub refused_at_millis: u64,
    /// What the machine said then.
    pub refusal: String,
}

/// A reboot call. Written before it is made: a crash in between must not lose it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The boot that it is meant to end.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// Time since boot, in milliseconds.
    pub at_millis: u64,
    /// In which way it was made, and what the machine answered; absent while there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl Call {
    /// Time since boot at which it was made.
    pub fn at(&self) -> Duration {
        Duration::from_millis(self.at_millis)
    }
}

impl Journal {
    /// Time since boot of the last refusal.
    pub fn refused_at(&self) -> Duration {
        Duration::from_millis(self.refused_at_millis)
    }

    /// The journal with this commit noted. Noting the same one again keeps its refusals.
    #[must_use]
    pub fn with_commit(&self, fence: i64, boot_id: &str, node_uid: &str) -> Self {
        let again = self.committed == fence && self.boot_id == boot_id;
        let kept = if again { self.clone() } else { Self::default() };
        Self {
            node_uid: node_uid.to_owned(),
            committed: fence,
            boot_id: boot_id.to_owned(),
            ..kept
        }
    }

    /// The journal with a call that is about to be made.
    #[must_use]
    pub fn with_call(&self, boottime: Duration) -> Self {
        Self {
            call: Some(Call {
                boot_id: self.boot_id.clone(),
                at_millis: millis(boottime),
                answer: None,
            }),
            ..self.clone()
        }
    }

    /// The journal after the call was answered, whatever the answer.
    #[must_use]
    pub fn with_answer(&self, answer: &str) -> Self {
        Self {
            call: self.call.clone().map(|call| Call {
                answer: Some(answer.chars().take(256).collect()),
                ..call
            }),
            ..self.clone()
        }
    }

    /// The journal after the call was refused for certain.
    #[must_use]
    pub fn with_refusal(&self, refusal: &str, boottime: Duration) -> Self {
        Self {
            call: None,
            refusals: self.refusals.saturating_add(1),
            refused_at_millis: millis(boottime),
            refusal: refusal.chars().take(512).collect(),
            ..self.clone()
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why the journal's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory or the lock file cannot be made.
    #[error("failed to open the lock in {directory}")]
    OpenLock {
        /// The state directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another agent of this host holds the lock.
    #[error("failed to lock {directory}: another agent runs on this host")]
    Locked {
        /// The state directory.
        directory: PathBuf,
    },
    /// The file cannot be written: nothing may be committed.
    #[error("failed to write the journal in {directory}")]
    Write {
        /// The state directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// The journal's place on disk, locked against a second agent of this host (F19).
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    /// Holds the lock for as long as it is open; a dead process holds none.
    _lock: File,
}

impl Store {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`JournalError::Locked`] while another agent has it, [`JournalError::OpenLock`] otherwise.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::OpenLock {
            directory: directory.to_owned(),
            source,
        };
        fs::create_dir_all(directory).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                directory: directory.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(JournalError::Locked {
                directory: directory.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Reads the journal. A missing or empty file is an empty journal: the host was imaged anew.
    pub fn read(&self) -> JournalView {
        let path = self.directory.join(FILE);
        let unreadable = |reason: String| JournalView::Unreadable {
            reason: format!("{}: {reason}", path.display()),
        };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return JournalView::Readable(Journal::default());
            }
            Err(error) => return unreadable(error.to_string()),
            Ok(metadata) if !metadata.is_file() => return unreadable("not a file".to_owned()),
            Ok(metadata) if metadata.len() > SIZE_MAX => return unreadable("too large".to_owned()),
            Ok(_) => {}
        }
        match fs::read(&path) {
            Ok(bytes) if bytes.is_empty() => JournalView::Readable(Journal::default()),
            Ok(bytes) => opened(&bytes).map_or_else(unreadable, JournalView::Readable),
            Err(error) => unreadable(error.to_string()),
        }
    }

    /// Replaces the journal, all or nothing; on return it is on the disk.
    ///
    /// # Errors
    /// [`JournalError::Write`]: what the file says then is the old or the new content.
    pub fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        self.replace(journal).map_err(|source| JournalError::Write {
            directory: self.directory.clone(),
            source,
        })
    }

    fn replace(&self, journal: &Journal) -> io::Result<()> {
        let new = self.directory.join(FILE_NEW);
        let mut file = File::create(&new)?;
        file.write_all(&sealed(journal)?)?;
        file.sync_all()?;
        fs::rename(&new, self.directory.join(FILE))?;
        // Without this the rename itself may be lost in a power cut, and the fence used twice.
        File::open(&self.directory)?.sync_all()
    }
}

/// The content of the file.
fn sealed(journal: &Journal) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(journal)?;
    let seal = seal(&bytes);
    bytes.extend(seal.bytes());
    Ok(bytes)
}

/// The journal that the file holds, or why it is not to be believed.
fn opened(bytes: &[u8]) -> Result<Journal, String> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    if rest != seal(line).as_bytes() {
        return Err("damaged: its checksum is not that of its content".to_owned());
    }
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// What follows the line.
fn seal(line: &[u8]) -> String {
    format!("\n{:x}\n", Sha256::digest(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal_of(view: JournalView) -> Journal {
        match view {
            JournalView::Readable(journal) => journal,
            JournalView::Unreadable { reason } => panic!("{reason}"),
        }
    }

    #[test]
    fn a_commit_and_its_call_survive() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let written = journal_of(store.read())
            .with_commit(7, "boot", "uid")
            .with_call(Duration::from_millis(1500));
        store.write(&written).unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        let read = journal_of(store.read());
        assert_eq!(read, written);
        assert_eq!(read.call.unwrap().at(), Duration::from_millis(1500));
    }

    #[test]
    fn f98_a_missing_or_empty_journal_is_new_and_a_broken_one_is_unreadable() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(journal_of(store.read()), Journal::default());
        let file = directory.path().join(FILE);
        fs::write(&file, "").unwrap();
        assert_eq!(journal_of(store.read()), Journal::default());
        fs::write(&file, "{\"committed\":").unwrap();
        assert!(matches!(store.read(), JournalView::Unreadable { .. }));
        fs::write(&file, vec![b' '; 100_000]).unwrap();
        assert!(matches!(store.read(), JournalView::Unreadable { .. }));
    }

    #[test]
    fn f98_no_byte_of_a_journal_can_change_unnoticed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let committed = Journal::default().with_commit(7, "boot", "uid");
        store
            .write(&committed.with_call(Duration::from_secs(9)))
            .unwrap();
        let file = directory.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&file, &bytes).unwrap();
            let read = store.read();
            assert!(matches!(read, JournalView::Unreadable { .. }), "{at}");
        }
        fs::write(&file, serde_json::to_vec(&committed).unwrap()).unwrap();
        assert!(matches!(store.read(), JournalView::Unreadable { .. }));
    }

    #[test]
    fn f19_a_second_agent_of_the_host_gets_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let first = Store::open(directory.path()).unwrap();
        let second = Store::open(directory.path());
        assert!(matches!(second, Err(JournalError::Locked { .. })));
        drop(first);
        assert!(Store::open(directory.path()).is_ok());
    }

    #[test]
    fn refusals_are_counted_per_commit() {
        let refused = Journal::default()
            .with_commit(7, "boot", "uid")
            .with_call(Duration::from_secs(1))
            .with_refusal("inhibited", Duration::from_secs(2));
        assert_eq!((refused.refusals, refused.call.is_none()), (1, true));
        let again = refused.with_commit(7, "boot", "uid");
        assert_eq!(again.refusals, 1);
        assert_eq!(again.with_commit(8, "boot", "uid").refusals, 0);
    }
}
