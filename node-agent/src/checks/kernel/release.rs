//! Kernel releases (`uname -r`): which flavour one is of, and which of two is the newer.
//!
//! Pure. Releases are compared within a flavour only: `6.1.0-14-cloud-amd64` is no update of
//! `6.1.0-13-amd64`, nor a debug or real-time kernel of a plain one. Both comparisons are those of the
//! package managers, as far as a release goes: there is no epoch in it.

use std::cmp::Ordering;

/// Architectures as RPM spells them, the last part of a release of Red Hat's form.
const ARCHITECTURES: [&str; 6] = ["x86_64", "aarch64", "ppc64le", "s390x", "i686", "riscv64"];

/// Flavours of SUSE's kernels, and of Arch's that do not count within the word.
const RPM_FLAVOURS: [&str; 8] = [
    "default", "azure", "preempt", "kvmsmall", "64kb", "longterm", "lts", "vanilla",
];

/// Whose rules order two releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// `dpkg --compare-versions`: letters before other signs, `~` before everything.
    Debian,
    /// `rpmvercmp`: parts of digits or letters, signs only divide.
    Rpm,
}

/// A release, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// What it is a build of: `cloud-amd64`, `generic`, `default`, `arch`, `el.x86_64+debug`.
    pub flavour: String,
    /// By whose rules it is compared.
    pub rules: Rules,
    text: String,
}

impl Release {
    /// Reads a release; `None` for one of no form that is known, which is compared with nothing.
    pub fn parse(text: &str) -> Option<Self> {
        text.starts_with(|first: char| first.is_ascii_digit())
            .then_some(())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._+-~".contains(c);
        (text.len() <= 128 && text.chars().all(plain)).then_some(())?;
        let (flavour, rules) = red_hat(text)
            .map(|flavour| (flavour, Rules::Rpm))
            .or_else(|| dashed(text))?;
        Some(Self {
            flavour,
            rules,
            text: text.to_owned(),
        })
    }

    /// Which of two of a flavour is the newer; `None` for two that cannot be compared.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if self.flavour != other.flavour || self.rules != other.rules {
            return None;
        }
        // A candidate is older than the release that it is a candidate of.
        let (one, two) = (
            self.text.replace("-rc", "~rc"),
            other.text.replace("-rc", "~rc"),
        );
        Some(match self.rules {
            Rules::Debian => debian(&one, &two),
            Rules::Rpm => rpm(&one, &two),
        })
    }
}

/// `5.14.0-362.8.1.el9_3.x86_64+debug`: version, dist tag, architecture, and a variant after `+`. The
/// numbers of a dist tag are version; its letters (`el`, `fc`, `eluek`, `amzn`) tell whose kernel it is.
fn red_hat(text: &str) -> Option<String> {
    let (base, variant) = text.split_once('+').unwrap_or((text, ""));
    let (rest, architecture) = base.rsplit_once('.')?;
    ARCHITECTURES.contains(&architecture).then_some(())?;
    let tag = rest.rsplit('.').next().unwrap_or_default();
    let letters: String = tag.chars().filter(char::is_ascii_alphabetic).collect();
    // A real-time kernel of RHEL 7 and 8 says so within its version.
    let real_time = rest.split('.').any(|part| {
        part.strip_prefix("rt")
            .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
    });
    let real_time = if real_time { "rt." } else { "" };
    Some(format!("{real_time}{letters}.{architecture}+{variant}"))
}

/// `6.1.0-13-cloud-amd64`, `5.14.21-150500.55.39-default`, `6.6.8-arch1-1`: parts that begin with a
/// digit are version, as are candidates; the letters of the others are the flavour.
fn dashed(text: &str) -> Option<(String, Rules)> {
    let mut words = Vec::new();
    let mut numbered = false;
    for part in text.split('-') {
        let digits = part.starts_with(|first: char| first.is_ascii_digit());
        let candidate = part
            .strip_prefix("rc")
            .is_some_and(|number| number.parse::<u32>().is_ok());
        if part.is_empty() {
            return None;
        }
        if digits || candidate {
            continue;
        }
        // Arch counts within the word (`arch1`), Debian's architectures end in digits (`amd64`).
        let counted = ["arch", "zen", "hardened", "rt"];
        let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
        if word != part && counted.contains(&word) {
            numbered = true;
            words.push(word);
        } else {
            words.push(part);
        }
    }
    let last = words.last()?;
    // SUSE's kernels are ordered by RPM, and Arch's by pacman, which compares as RPM does.
    let rules = if numbered || RPM_FLAVOURS.contains(last) {
        Rules::Rpm
    } else {
        Rules::Debian
    };
    Some((words.join("-"), rules))
}

/// dpkg's comparison of the part before an epoch's colon is after (`verrevcmp`).
fn debian(one: &str, two: &str) -> Ordering {
    let (mut one, mut two) = (one.as_bytes(), two.as_bytes());
    while !one.is_empty() || !two.is_empty() {
        let is_digit = |byte: &&u8| byte.is_ascii_digit();
        while one.first().is_some_and(|byte| !byte.is_ascii_digit())
            || two.first().is_some_and(|byte| !byte.is_ascii_digit())
        {
            let order = weight(one.first()).cmp(&weight(two.first()));
            if order != Ordering::Equal {
                return order;
            }
            (one, two) = (
                one.get(1..).unwrap_or_default(),
                two.get(1..).unwrap_or_default(),
            );
        }
        let digits = |text: &[u8]| text.iter().take_while(is_digit).count();
        let ((first, rest_one), (second, rest_two)) =
            (one.split_at(digits(one)), two.split_at(digits(two)));
        let order = numbers(first, second);
        if order != Ordering::Equal {
            return order;
        }
        (one, two) = (rest_one, rest_two);
    }
    Ordering::Equal
}

/// `~` before the end, the end and digits before letters, letters before other signs.
fn weight(byte: Option<&u8>) -> u16 {
    match byte {
        Some(b'~') => 0,
        None => 1,
        Some(byte) if byte.is_ascii_digit() => 1,
        Some(byte) if byte.is_ascii_alphabetic() => u16::from(*byte) + 1,
        Some(byte) => u16::from(*byte) + 300,
    }
}

/// Of any length: no number of a version overflows.
fn numbers(one: &[u8], two: &[u8]) -> Ordering {
    let bare = |text: &[u8]| {
        let zeros = text.iter().take_while(|digit| **digit == b'0').count();
        text.get(zeros..).unwrap_or_default().to_vec()
    };
    let (one, two) = (bare(one), bare(two));
    one.len().cmp(&two.len()).then_with(|| one.cmp(&two))
}

/// RPM's comparison (`rpmvercmp`).
fn rpm(one: &str, two: &str) -> Ordering {
    let (mut one, mut two) = (one.as_bytes(), two.as_bytes());
    loop {
        (one, two) = (part_begins(one), part_begins(two));
        let order = rank(one.first()).cmp(&rank(two.first()));
        if order != Ordering::Equal {
            return order;
        }
        let (Some(first), Some(second)) = (one.first(), two.first()) else {
            return Ordering::Equal;
        };
        let (one_part, two_part) = (one.split_at(part(one)), two.split_at(part(two)));
        let order = match (first.is_ascii_digit(), second.is_ascii_digit()) {
            (true, true) => numbers(one_part.0, two_part.0),
            (false, false) => one_part.0.cmp(two_part.0),
            // A number is newer than a word.
            (digit, other) => digit.cmp(&other),
        };
        if order != Ordering::Equal {
            return order;
        }
        (one, two) = (one_part.1, two_part.1);
    }
}

/// `~` before the end, the end before `^`, and that before everything else.
fn rank(next: Option<&u8>) -> u8 {
    match next {
        Some(b'~') => 0,
        None => 1,
        Some(b'^') => 2,
        Some(_) => 3,
    }
}

/// How long the part is that begins here: digits, letters, or one of the signs that count.
fn part(text: &[u8]) -> usize {
    let alike = |wanted: fn(&u8) -> bool| text.iter().take_while(|byte| wanted(byte)).count();
    match text.first() {
        Some(first) if first.is_ascii_digit() => alike(u8::is_ascii_digit),
        Some(first) if first.is_ascii_alphabetic() => alike(u8::is_ascii_alphabetic),
        Some(_) => 1,
        None => 0,
    }
}

/// Signs only divide the parts.
fn part_begins(text: &[u8]) -> &[u8] {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^');
    let signs = text.iter().take_while(|byte| !part(byte)).count();
    text.get(signs..).unwrap_or_default()
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
