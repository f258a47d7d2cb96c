//! The package sources of this computer, cut down to those of Debian's own release.
//!
//! Third parties' repositories are left out: machines need none of their packages, and their keys
//! may lie where mmdebstrap does not look.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const LIST: &str = "/etc/apt/sources.list";
const DIRECTORY: &str = "/etc/apt/sources.list.d";

/// The sources, in apt's two formats, which must not be mixed in one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sources {
    one_line: String,
    deb822: String,
}

impl Sources {
    /// Reads apt's configuration.
    pub(super) fn read() -> Result<Self> {
        let mut paths: Vec<PathBuf> = fs::read_dir(DIRECTORY)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        // The order of a directory is not fixed, and the image's fingerprint holds this text.
        paths.sort();
        paths.insert(0, LIST.into());
        let codename = codename()?;
        let mut sources = Self {
            one_line: String::new(),
            deb822: String::new(),
        };
        for path in paths {
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("list") => sources.one_line.push_str(&one_line(&text, &codename)),
                Some("sources") => sources.deb822.push_str(&deb822(&text, &codename)),
                _ => {}
            }
        }
        ensure!(
            !sources.one_line.is_empty() || !sources.deb822.is_empty(),
            "apt has no source of packages for {codename}"
        );
        Ok(sources)
    }

    /// Writes the sources, each format into a file of its own.
    pub(super) fn write(&self, directory: &Path) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for (name, text) in [("lab.list", &self.one_line), ("lab.sources", &self.deb822)] {
            if text.is_empty() {
                continue;
            }
            let path = directory.join(name);
            fs::write(&path, text)
                .with_context(|| format!("failed to write {}", path.display()))?;
            files.push(path);
        }
        Ok(files)
    }
}

/// The name of the running Debian release.
pub(super) fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("failed to read os-release")?;
    let value = |key: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|value| value.trim_matches('"').to_owned())
    };
    ensure!(value("ID=").as_deref() == Some("debian"), "not Debian");
    value("VERSION_CODENAME=").context("this Debian release has no name")
}

/// Whether a suite is the release itself or one of its updates.
fn is_of(suite: &str, codename: &str) -> bool {
    let rest = suite.trim_end_matches('/').strip_prefix(codename);
    matches!(rest, Some("" | "-updates" | "-security")) || suite == format!("{codename}/updates")
}

fn one_line(text: &str, codename: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| {
            // `deb [options] URI suite component...`
            let rest = line.strip_prefix("deb ").unwrap_or_default().trim();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
                None => rest,
            };
            rest.split_whitespace()
                .nth(1)
                .is_some_and(|suite| is_of(suite, codename))
        })
        .fold(String::new(), |text, line| text + line + "\n")
}

fn deb822(text: &str, codename: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .split(|line| line.trim().is_empty())
        .filter(|stanza| {
            let field = |name: &str| {
                stanza
                    .iter()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap_or_default()
            };
            field("Types:").split_whitespace().any(|kind| kind == "deb")
                && field("Enabled:").trim() != "no"
                && field("Suites:")
                    .split_whitespace()
                    .any(|suite| is_of(suite, codename))
        })
        .fold(String::new(), |text, stanza| {
            text + &stanza.join("\n") + "\n\n"
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_release_are_kept() {
        let text = "# comment\n\
                    deb https://debian.test/debian bookworm main\n\
                    deb [signed-by=/a/key arch=amd64] https://debian.test/debian bookworm-updates main\n\
                    deb-src https://debian.test/debian bookworm main\n\
                    deb [signed-by=/a/key] https://other.test stable main\n\
                    deb https://other.test bookworm-tool main\n";
        assert_eq!(
            one_line(text, "bookworm"),
            "deb https://debian.test/debian bookworm main\n\
             deb [signed-by=/a/key arch=amd64] https://debian.test/debian bookworm-updates main\n"
        );
    }

    #[test]
    fn only_stanzas_of_the_release_are_kept() {
        let text = "Types: deb\n# snapshot\nURIs: https://debian.test\nSuites: bookworm bookworm-updates\n\
                    Components: main\n\nTypes: deb\nURIs: https://other.test\nSuites: stable\n\n\
                    Types: deb\nEnabled: no\nURIs: https://debian.test\nSuites: bookworm\n";
        assert_eq!(
            deb822(text, "bookworm"),
            "Types: deb\nURIs: https://debian.test\nSuites: bookworm bookworm-updates\n\
             Components: main\n\n"
        );
    }
}
