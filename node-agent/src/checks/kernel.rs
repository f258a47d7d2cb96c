//! The check `kernel`: a newer kernel of the booted one's kind is installed than the one that runs.
//!
//! Reads names below the host's directory of kernel modules, where every distribution keeps one
//! directory per installed kernel. Runs nothing. A host whose booted kernel is none of these
//! packages (booted from elsewhere, or built by hand) has no such check.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use slipway_client::simulate;

use super::{READ_LIMIT, Verdict};

/// Most directories looked at: past that it is not a directory of kernels.
const KERNELS_MAX: usize = 256;
/// Longest name of a package that a directory may carry.
const PACKAGE_MAX: usize = 128;
/// Either of these lies in the directory as long as the package is installed; what a purge leaves
/// behind has neither.
const SHIPPED: [&str; 2] = ["modules.builtin", "modules.order"];
/// The name of the package, where the distribution writes it (Arch).
const PACKAGE: &str = "pkgbase";

/// Compares the booted kernel with those installed below `modules`, bounded in time.
pub async fn read(modules: &Path, booted: &str) -> Verdict {
    let (modules, booted): (PathBuf, String) = (modules.to_owned(), booted.to_owned());
    let reading = simulate::off_thread(move || read_now(&modules, &booted));
    match tokio::time::timeout(READ_LIMIT, reading).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => Verdict::unknown("the check failed"),
        Err(_) => Verdict::unknown("the file system did not answer within 30s"),
    }
}

/// One installed kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kernel {
    release: String,
    /// What it may be compared with: `amd64`, `default`, `linux-lts`.
    flavour: String,
    /// Whether the flavour is the name of a package, not a part of the release.
    packaged: bool,
}

fn read_now(modules: &Path, booted: &str) -> Verdict {
    let kernels = match installed(modules) {
        Ok(kernels) if kernels.is_empty() => return Verdict::not_applicable("no kernel is installed"),
        Ok(kernels) => kernels,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Verdict::not_applicable("no kernel is installed");
        }
        Err(error) => return Verdict::unknown(&format!("the installed kernels: {error}")),
    };
    judge(&kernels, booted)
}

fn judge(kernels: &[Kernel], booted: &str) -> Verdict {
    let newest = |flavour: &str| {
        let same = kernels.iter().filter(|kernel| kernel.flavour == flavour);
        same.max_by(|one, two| compare(&one.release, &two.release))
    };
    let Some(running) = kernels.iter().find(|kernel| kernel.release == booted) else {
        // Arch removes a kernel's directory when it installs the next one.
        return match kernels {
            [only] if only.packaged && same_suffix(&only.release, booted) => required(only, booted),
            _ => Verdict::not_applicable(&format!("{booted} is none of the installed kernels")),
        };
    };
    match newest(&running.flavour) {
        Some(newest) if compare(&newest.release, booted) == Ordering::Greater => {
            required(newest, booted)
        }
        Some(_) | None => Verdict::not_required(&format!("{booted} is the newest")),
    }
}

fn required(newest: &Kernel, booted: &str) -> Verdict {
    Verdict::required(&format!(
        "kernel {} is installed and {booted} runs",
        newest.release
    ))
}

/// Both end in the same letters, as `-arch1-1` and `-arch2-1` or `-lts` do.
fn same_suffix(one: &str, two: &str) -> bool {
    let letters = |release: &str| -> BTreeSet<String> {
        let parts = release.split(['-', '.']).map(|part| {
            part.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
        });
        parts.filter(|part| !part.is_empty()).collect()
    };
    letters(one) == letters(two)
}

fn installed(modules: &Path) -> io::Result<Vec<Kernel>> {
    let mut kernels = Vec::new();
    for entry in fs::read_dir(modules)?.take(KERNELS_MAX) {
        kernels.extend(kernel(&entry?)?);
    }
    Ok(kernels)
}

fn kernel(entry: &DirEntry) -> io::Result<Option<Kernel>> {
    // A link is no package's directory.
    if !entry.file_type()?.is_dir() {
        return Ok(None);
    }
    let Ok(release) = entry.file_name().into_string() else {
        return Ok(None);
    };
    let path = entry.path();
    if !SHIPPED.iter().any(|file| is_plain(&path.join(file))) {
        return Ok(None);
    }
    let package = package(&path)?;
    let packaged = package.is_some();
    let flavour = package.unwrap_or_else(|| flavour(&release));
    Ok(Some(Kernel {
        release,
        flavour,
        packaged,
    }))
}

fn is_plain(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn package(directory: &Path) -> io::Result<Option<String>> {
    let path = directory.join(PACKAGE);
    if !is_plain(&path) {
        return Ok(None);
    }
    let text = fs::read_to_string(path)?;
    let name = text.trim();
    Ok((!name.is_empty() && name.len() <= PACKAGE_MAX).then(|| name.to_owned()))
}

/// The part of a release that says of which kind the kernel is: `amd64` of `6.1.0-18-amd64`,
/// `default` of `6.4.0-150600.23.7-default`, `64k` of `5.14.0-427.13.1.el9_4.aarch64+64k`.
fn flavour(release: &str) -> String {
    let parts: Vec<&str> = release.split('-').collect();
    let named: Vec<&str> = parts
        .iter()
        .rev()
        .take_while(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()))
        .copied()
        .collect();
    if !named.is_empty() {
        return named.into_iter().rev().collect::<Vec<_>>().join("-");
    }
    release
        .split_once('+')
        .map(|(_, flavour)| flavour.to_owned())
        .unwrap_or_default()
}

/// Compares releases as package managers compare versions: runs of digits as numbers, runs of
/// letters as text, a number above letters, and `~` below everything.
fn compare(one: &str, two: &str) -> Ordering {
    let (one, two) = (segments(one), segments(two));
    for pair in one.iter().zip(&two) {
        let order = compare_segment(pair.0, pair.1);
        if order != Ordering::Equal {
            return order;
        }
    }
    match one.len().cmp(&two.len()) {
        Ordering::Less if two.get(one.len()).is_some_and(|next| next == "~") => Ordering::Greater,
        Ordering::Greater if one.get(two.len()).is_some_and(|next| next == "~") => Ordering::Less,
        order => order,
    }
}

fn compare_segment(one: &str, two: &str) -> Ordering {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match (one == "~", two == "~") {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Less,
        (false, true) => return Ordering::Greater,
        (false, false) => {}
    }
    match (digits(one), digits(two)) {
        (true, true) => {
            let (one, two) = (one.trim_start_matches('0'), two.trim_start_matches('0'));
            one.len().cmp(&two.len()).then_with(|| one.cmp(two))
        }
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => one.cmp(two),
    }
}

fn segments(release: &str) -> Vec<String> {
    #[derive(PartialEq)]
    enum Kind {
        Digits,
        Letters,
        Tilde,
        Other,
    }
    let kind = |c: char| match c {
        '0'..='9' => Kind::Digits,
        'a'..='z' | 'A'..='Z' => Kind::Letters,
        '~' => Kind::Tilde,
        _ => Kind::Other,
    };
    let mut all: Vec<String> = Vec::new();
    let mut last = Kind::Other;
    for c in release.chars() {
        let now = kind(c);
        match all.last_mut() {
            Some(segment) if now == last && now != Kind::Other => segment.push(c),
            Some(_) | None if now != Kind::Other => all.push(c.to_string()),
            Some(_) | None => {}
        }
        last = now;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::State;

    /// A host's directory of modules: releases with the files that lie in each directory.
    fn tree(kernels: &[(&str, &[&str])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (release, files) in kernels {
            let directory = root.path().join(release);
            fs::create_dir(&directory).unwrap();
            for file in *files {
                let (name, text) = file.split_once('=').unwrap_or((file, ""));
                fs::write(directory.join(name), text).unwrap();
            }
        }
        root
    }

    fn judged(kernels: &[(&str, &[&str])], booted: &str) -> (State, String) {
        let root = tree(kernels);
        let verdict = read_now(root.path(), booted);
        (verdict.state, verdict.detail)
    }

    const FILES: &[&str] = &["modules.builtin", "modules.order", "modules.dep"];

    #[test]
    fn a_newer_kernel_of_the_same_kind_asks_for_a_reboot_in_every_layout() {
        let arch: &[&str] = &["modules.builtin", "pkgbase=linux\n"];
        let lts: &[&str] = &["modules.builtin", "pkgbase=linux-lts\n"];
        // Per layout: what is installed, what runs without a need, and what runs with one.
        let layouts: [(&str, Vec<(&str, &[&str])>, &str, &str); 6] = [
            (
                "Debian",
                vec![("6.1.0-9-amd64", FILES), ("6.1.0-18-amd64", FILES)],
                "6.1.0-18-amd64",
                "6.1.0-9-amd64",
            ),
            (
                "Debian 13",
                vec![("6.12.43+deb13-amd64", FILES), ("6.12.48+deb13-amd64", FILES)],
                "6.12.48+deb13-amd64",
                "6.12.43+deb13-amd64",
            ),
            (
                "Ubuntu",
                vec![("5.15.0-97-generic", FILES), ("5.15.0-105-generic", FILES)],
                "5.15.0-105-generic",
                "5.15.0-97-generic",
            ),
            (
                "Red Hat",
                vec![
                    ("5.14.0-427.13.1.el9_4.x86_64", FILES),
                    ("5.14.0-427.9.1.el9_4.x86_64", FILES),
                ],
                "5.14.0-427.13.1.el9_4.x86_64",
                "5.14.0-427.9.1.el9_4.x86_64",
            ),
            (
                "SUSE",
                vec![
                    ("6.4.0-150600.21-default", FILES),
                    ("6.4.0-150600.23.7-default", FILES),
                ],
                "6.4.0-150600.23.7-default",
                "6.4.0-150600.21-default",
            ),
            (
                "Arch",
                vec![("6.9.7-arch1-1", arch), ("6.6.36-1-lts", lts)],
                "6.9.7-arch1-1",
                "",
            ),
        ];
        for (layout, kernels, newest, older) in layouts {
            let (state, detail) = judged(&kernels, newest);
            assert_eq!(state, State::NotRequired, "{layout}: {detail}");
            if !older.is_empty() {
                let (state, detail) = judged(&kernels, older);
                assert_eq!(state, State::Required, "{layout}: {detail}");
                assert!(detail.contains(newest) && detail.contains(older), "{detail}");
            }
        }
    }

    #[test]
    fn arch_takes_the_running_kernel_away_when_it_installs_the_next() {
        let arch: &[&str] = &["modules.builtin", "pkgbase=linux\n"];
        let kernels = [("6.9.8-arch1-1", arch)];
        assert_eq!(judged(&kernels, "6.9.7-arch1-1").0, State::Required);
        // A kernel of another kind, and one of which nothing is known.
        for booted in ["6.6.36-1-lts", "6.9.7-custom"] {
            assert_eq!(judged(&kernels, booted).0, State::NotApplicable, "{booted}");
        }
    }

    #[test]
    fn kernels_of_another_kind_do_not_count() {
        let kernels = [
            ("6.1.0-18-amd64", FILES),
            ("6.1.0-20-cloud-amd64", FILES),
            ("6.1.0-21-rt-amd64", FILES),
        ];
        for (release, _) in kernels {
            assert_eq!(judged(&kernels, release).0, State::NotRequired, "{release}");
        }
        let pages = [
            ("5.14.0-427.13.1.el9_4.aarch64", FILES),
            ("5.14.0-427.13.1.el9_4.aarch64+64k", FILES),
            ("5.14.0-503.el9.aarch64+64k", FILES),
        ];
        assert_eq!(judged(&pages, pages[0].0).0, State::NotRequired);
        assert_eq!(judged(&pages, pages[1].0).0, State::Required);
    }

    #[test]
    fn what_a_purged_package_leaves_behind_is_no_kernel() {
        let kernels: [(&str, &[&str]); 2] = [
            ("6.1.0-18-amd64", FILES),
            ("6.1.0-20-amd64", &["modules.dep", "modules.alias"]),
        ];
        assert_eq!(judged(&kernels, "6.1.0-18-amd64").0, State::NotRequired);
    }

    #[test]
    fn a_host_that_boots_its_kernel_from_elsewhere_has_no_such_check() {
        let kernels = [("6.1.0-18-amd64", FILES)];
        assert_eq!(judged(&kernels, "6.8.0-cloud").0, State::NotApplicable);
        assert_eq!(judged(&[], "6.1.0-18-amd64").0, State::NotApplicable);
        let missing = read_now(Path::new("/nonexistent/modules"), "6.1.0-18-amd64");
        assert_eq!(missing.state, State::NotApplicable);
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_unknown_and_never_not_required() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(read_now(file.path(), "6.1.0-18-amd64").state, State::Unknown);
        let broken: &[&str] = &["modules.builtin"];
        let root = tree(&[("6.9.7-arch1-1", broken)]);
        // Not text: what is in it cannot be told.
        fs::write(root.path().join("6.9.7-arch1-1/pkgbase"), [0xff, 0xfe]).unwrap();
        assert_eq!(read_now(root.path(), "6.9.7-arch1-1").state, State::Unknown);
    }

    #[test]
    fn releases_are_compared_as_versions() {
        for (older, newer) in [
            ("6.1.0-9-amd64", "6.1.0-18-amd64"),
            ("6.1.0-18-amd64", "6.2.0-1-amd64"),
            ("5.14.0-427.el9", "5.14.0-427.1.el9"),
            ("6.1.0~rc1-1", "6.1.0-1"),
            ("6.1.0-rc1", "6.1.0-1"),
            ("6.09.1", "6.10.0"),
        ] {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
            assert_eq!(compare(older, older), Ordering::Equal);
        }
    }
}
