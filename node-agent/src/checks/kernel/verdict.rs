//! What follows from the kernels that are installed. Pure: names in, a reading out.
//!
//! Required needs proof: a newer kernel of the running one's flavour, whole, and nothing that says that
//! another one is booted next. What cannot be judged is Unknown with the reason, never a guess; what
//! has no kernels of its own, such as a container or an image-based host, is not judged at all.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::release::Release;
use crate::checks::Reading;

/// What of a kernel is installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Its modules: a directory of headers alone has none.
    pub modules: bool,
    /// An image that can be booted.
    pub image: bool,
}

/// The kernels of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// By release.
    pub kernels: BTreeMap<String, Installed>,
    /// What GRUB is told to boot next, if anything.
    pub saved_entry: Option<String>,
    /// True on a host whose next system is another tree, which is not seen from here (ostree).
    pub image_based: bool,
}

/// Before the release in the name of an image below `/boot`.
const IMAGE_PREFIXES: [&str; 5] = ["vmlinuz-", "vmlinux-", "Image-", "image-", "kernel-"];
/// What package managers and people leave beside an image.
const LEFTOVERS: [&str; 9] = [
    ".old", ".bak", ".gz", ".hmac", ".rpmnew", ".rpmsave", ".sig", ".signed", "~",
];

/// The release that an image below `/boot` is of.
pub fn release_of_image(name: &str) -> Option<&str> {
    let release = IMAGE_PREFIXES
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))?;
    let leftover = LEFTOVERS.iter().any(|end| release.ends_with(end))
        || release.contains(".dpkg-")
        || release.contains("rescue");
    (!leftover).then_some(release)
}

impl Installed {
    fn is_whole(self) -> bool {
        self.image && self.modules
    }
}

impl Tree {
    /// True where a running kernel can be judged. Without one whole kernel the host boots another way,
    /// which is not seen from here.
    pub fn is_judged(&self) -> bool {
        !self.image_based && self.kernels.values().any(|kernel| kernel.is_whole())
    }
}

/// Judges the running kernel of a host that [can be judged](Tree::is_judged).
pub fn judge(running: &str, tree: &Tree) -> Reading {
    let Some(current) = Release::parse(running) else {
        let text = format!("the running kernel {running} has a name that cannot be compared");
        return Reading::unknown(text);
    };
    let newer = newer(&current, tree);
    let whole: Vec<&str> = { newer.iter() }
        .filter(|(_, installed)| installed.is_whole())
        .map(|(release, _)| *release)
        .collect();
    if let Some(newest) = whole.last() {
        return next_boot(running, newest, &whole, tree);
    }
    if let Some((half, installed)) = newer.last() {
        let missing = if installed.image { "modules" } else { "image" };
        return Reading::unknown(format!(
            "{running} runs; {half} is installed without its {missing}"
        ));
    }
    let installed = tree.kernels.get(running);
    if installed.is_some_and(|installed| installed.is_whole()) {
        Reading::not_required(format!(
            "{running} runs, the newest {} kernel that is installed",
            current.flavour
        ))
    } else {
        Reading::unknown(format!(
            "the running kernel {running} is no longer installed, and no newer {} kernel is",
            current.flavour
        ))
    }
}

/// Kernels of the same flavour that are newer and installed at least in part, the newest last.
fn newer<'a>(current: &Release, tree: &'a Tree) -> Vec<(&'a str, Installed)> {
    let mut found: Vec<(Release, &str, Installed)> = tree
        .kernels
        .iter()
        .filter(|(_, installed)| installed.image || installed.modules)
        .filter_map(|(text, installed)| Some((Release::parse(text)?, text.as_str(), *installed)))
        .filter(|(release, ..)| release.compare(current) == Some(Ordering::Greater))
        .collect();
    // All of one flavour: any two can be compared.
    found.sort_by(|(one, ..), (two, ..)| one.compare(two).unwrap_or(Ordering::Equal));
    let bare = found.into_iter();
    bare.map(|(_, text, installed)| (text, installed)).collect()
}

/// A newer kernel is there: is it the one that a reboot would bring?
fn next_boot(running: &str, newest: &str, whole: &[&str], tree: &Tree) -> Reading {
    let required = |next: &str| Reading::required(format!("{running} runs, {next} is installed"));
    let Some(saved) = &tree.saved_entry else {
        return required(newest);
    };
    if let Some(release) = boot_loader_entry(saved) {
        // Such an entry is what is booted next, whatever else is installed.
        return if release == running {
            let text =
                format!("{newest} is installed, but GRUB is set to boot {running}, which runs");
            Reading::not_required(text)
        } else if whole.contains(&release) {
            required(release)
        } else {
            let text = format!("{newest} is installed, but GRUB is set to boot {release}");
            Reading::unknown(text)
        };
    }
    // Elsewhere it counts with `GRUB_DEFAULT=saved` only, which is not seen from here.
    let named = tree
        .kernels
        .keys()
        .filter(|release| saved.contains(release.as_str()));
    match named.max_by_key(|release| release.len()) {
        Some(release) if !whole.contains(&release.as_str()) => Reading::unknown(format!(
            "{newest} is installed, but GRUB may be set to boot {release}"
        )),
        Some(_) | None => required(newest),
    }
}

/// The release of an entry by the Boot Loader Specification: `<machine ID>-<release>`.
fn boot_loader_entry(saved: &str) -> Option<&str> {
    let (machine, release) = saved.split_once('-')?;
    let id = machine.len() == 32 && machine.chars().all(|c| c.is_ascii_hexdigit());
    (id && Release::parse(release).is_some()).then_some(release)
}
