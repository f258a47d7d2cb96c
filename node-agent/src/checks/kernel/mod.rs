//! The check `kernel`: does the newest kernel that is installed run?
//!
//! Owns one look at the host's `/boot` and `/lib/modules`, whose names are all it goes by; what
//! follows from them is [`verdict`]'s, which is pure. Opens no kernel, and follows no link.

pub mod release;
pub mod verdict;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use slipway_api::checks::KERNEL;

use super::{Check, Look, Patience, Reading, shown};
use verdict::{Installed, Tree};

/// Most entries of a directory that are looked at; a host has a handful of kernels.
const ENTRIES_MAX: usize = 1000;
/// Most bytes read of a file.
const TEXT_MAX: u64 = 4096;
/// Names that an image has beside its modules.
const IMAGES: [&str; 5] = ["vmlinuz", "vmlinux", "Image", "image", "zImage"];
/// Where GRUB keeps what it boots next, below `/boot`.
const GRUB_ENVIRONMENTS: [&str; 2] = ["grub2/grubenv", "grub/grubenv"];

/// Where a host keeps its kernels.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/boot`.
    pub boot: PathBuf,
    /// `/lib/modules`.
    pub modules: PathBuf,
    /// The release that runs: the kernel is the host's, so that a container sees it too.
    pub running: PathBuf,
}

/// The check.
pub struct Kernel {
    places: Places,
    patience: Patience,
}

impl Kernel {
    /// Looks at these places.
    pub fn new(places: Places) -> Self {
        Self {
            places,
            patience: Patience::default(),
        }
    }
}

impl Check for Kernel {
    fn name(&self) -> &'static str {
        KERNEL
    }

    fn look(&self) -> BoxFuture<'_, Look> {
        let places = self.places.clone();
        Box::pin(self.patience.look(move || read(&places)))
    }
}

fn read(places: &Places) -> Look {
    let tree = match tree(places) {
        Ok(tree) if tree.is_judged() => tree,
        Ok(_) => return None,
        Err(reason) => return Some(Reading::unknown(reason)),
    };
    Some(match text(&places.running) {
        Ok(running) => verdict::judge(running.trim(), &tree),
        Err(error) => Reading::unknown(said(&places.running, &error)),
    })
}

/// What is installed. A place that is not there holds nothing; any other error is one.
fn tree(places: &Places) -> Result<Tree, String> {
    let mut kernels: BTreeMap<String, Installed> = BTreeMap::new();
    for (release, entry) in entries(&places.modules)? {
        if !entry.is_dir() {
            continue;
        }
        let directory = places.modules.join(&release);
        let is = |name: &str, wanted: fn(&fs::Metadata) -> bool| {
            fs::symlink_metadata(directory.join(name)).is_ok_and(|found| wanted(&found))
        };
        let installed = Installed {
            modules: is("kernel", fs::Metadata::is_dir),
            image: IMAGES.iter().any(|name| is(name, fs::Metadata::is_file)),
        };
        kernels.insert(release, installed);
    }
    let boot = entries(&places.boot)?;
    for (name, _) in boot.iter().filter(|(_, entry)| entry.is_file()) {
        if let Some(release) = verdict::release_of_image(name) {
            kernels.entry(release.to_owned()).or_default().image = true;
        }
    }
    let grub = GRUB_ENVIRONMENTS.iter().map(|name| places.boot.join(name));
    let saved = grub.filter_map(|path| text(&path).ok()).find_map(|text| {
        let mut lines = text.lines();
        let saved = lines.find_map(|line| line.strip_prefix("saved_entry="))?;
        (!saved.is_empty()).then(|| saved.to_owned())
    });
    Ok(Tree {
        kernels,
        saved_entry: saved,
        image_based: boot
            .iter()
            .any(|(name, entry)| name == "ostree" && entry.is_dir()),
    })
}

/// Names and kinds, unresolved; a link is neither a file nor a directory.
fn entries(directory: &Path) -> Result<Vec<(String, fs::FileType)>, String> {
    let failed = |error: io::Error| said(directory, &error);
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut all = Vec::new();
    for entry in listing {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        // What is no text is no kernel's name.
        if let Ok(name) = entry.file_name().into_string() {
            all.push((name, kind));
        }
        if all.len() > ENTRIES_MAX {
            return Err(format!(
                "{}: more than {ENTRIES_MAX} entries",
                shown(directory)
            ));
        }
    }
    Ok(all)
}

/// The beginning of a plain file.
fn text(path: &Path) -> io::Result<String> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a plain file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(TEXT_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn said(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", shown(path))
}

#[cfg(test)]
mod tests;
