//! The bank of mutants: files of `tests/mutants`, and what they change in the sources.
//!
//! ```text
//! mutant agent-slot-unseen
//! breaks S1c
//! rule G5: no accept and no commit without the slot of this very grant
//! in node-agent/src/decide/rules.rs
//! -if ours {
//! +if ours || MUTANT {
//! ```
//! The old text must stand in the file exactly once. `MUTANT` in the new text becomes a question that
//! is answered while the program runs, so that all of them are built together, once.
//!
//! A line `api protocol::failures::a_test` names the test on a real API server that has to fail
//! without the rule: the program, then the test in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// One change of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hunk {
    /// The file, from the root of the tree.
    pub(crate) file: String,
    /// What stands there.
    pub(crate) old: String,
    /// What takes its place, with the word `MUTANT`.
    pub(crate) new: String,
}

/// One mutant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mutant {
    /// Its name.
    pub(crate) name: String,
    /// The invariant of docs/design/faults.md that falls without the rule.
    pub(crate) breaks: String,
    /// The rule that it lacks.
    pub(crate) rule: String,
    /// The test on a real API server that has to notice, as `program::test`; empty for none.
    pub(crate) api: String,
    /// Its changes; together they take the rule away wherever it stands.
    pub(crate) hunks: Vec<Hunk>,
}

/// Reads every file of a directory.
pub(crate) fn read(directory: &Path) -> Result<Vec<Mutant>> {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .with_context(|| format!("failed to list {}", directory.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        let parsed = parse(&text);
        all.extend(parsed.with_context(|| format!("{} cannot be read", path.display()))?);
    }
    let mut names: Vec<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    ensure!(names.len() == all.len(), "two mutants have one name");
    Ok(all)
}

fn parse(text: &str) -> Result<Vec<Mutant>> {
    let mut all: Vec<Mutant> = Vec::new();
    let mut file = String::new();
    // A hunk begins with the first old line after anything but an old line.
    let mut in_old = false;
    for line in text.lines() {
        let was_old = std::mem::take(&mut in_old);
        if let Some(name) = line.strip_prefix("mutant ") {
            all.push(Mutant {
                name: name.to_owned(),
                ..Mutant::default()
            });
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mutant = all.last_mut().context("no mutant is named yet")?;
        if let Some(breaks) = line.strip_prefix("breaks ") {
            breaks.clone_into(&mut mutant.breaks);
        } else if let Some(rule) = line.strip_prefix("rule ") {
            rule.clone_into(&mut mutant.rule);
        } else if let Some(test) = line.strip_prefix("api ") {
            test.clone_into(&mut mutant.api);
        } else if let Some(named) = line.strip_prefix("in ") {
            named.clone_into(&mut file);
        } else if let Some(old) = line.strip_prefix('-') {
            in_old = true;
            if was_old {
                let hunk = mutant.hunks.last_mut().context("no hunk")?;
                add_line(&mut hunk.old, old);
            } else {
                mutant.hunks.push(Hunk {
                    file: file.clone(),
                    old: old.to_owned(),
                    new: String::new(),
                });
            }
        } else if let Some(new) = line.strip_prefix('+') {
            let hunk = mutant.hunks.last_mut().context("new text without old")?;
            add_line(&mut hunk.new, new);
        } else {
            bail!("what is this line? {line}");
        }
    }
    for mutant in &all {
        let whole = !mutant.breaks.is_empty() && !mutant.rule.is_empty();
        let switched = mutant.hunks.iter().all(|hunk| hunk.new.contains("MUTANT"));
        ensure!(
            whole && switched && !mutant.hunks.is_empty(),
            "{}: breaks, rule, and MUTANT in each new text are needed",
            mutant.name
        );
    }
    Ok(all)
}

fn add_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

/// The files that mutants change, with every change in them; fails where one no longer applies.
pub(crate) fn apply(root: &Path, mutants: &[Mutant]) -> Result<BTreeMap<String, String>> {
    let mut by_file: BTreeMap<&str, Vec<(&str, &Hunk)>> = BTreeMap::new();
    for mutant in mutants {
        for hunk in &mutant.hunks {
            let hunks = by_file.entry(&hunk.file).or_default();
            hunks.push((&mutant.name, hunk));
        }
    }
    let mut changed = BTreeMap::new();
    for (file, hunks) in by_file {
        let text = fs::read_to_string(root.join(file))
            .with_context(|| format!("mutants change {file}, which cannot be read"))?;
        changed.insert(file.to_owned(), edit(file, &text, &hunks)?);
    }
    Ok(changed)
}

fn edit(file: &str, text: &str, hunks: &[(&str, &Hunk)]) -> Result<String> {
    let mut places = Vec::new();
    for (name, hunk) in hunks {
        let mut found = text.match_indices(hunk.old.as_str());
        let (Some((at, _)), None) = (found.next(), found.next()) else {
            bail!(
                "mutant {name} does not apply any more: {file} must have this text exactly once; \
                 mend it in tests/mutants:\n{}",
                hunk.old
            );
        };
        places.push((at, *name, *hunk));
    }
    places.sort_by_key(|(at, _, _)| *at);
    let mut edited = String::with_capacity(text.len() * 2);
    let mut done = 0;
    for (at, name, hunk) in places {
        let kept = text
            .get(done..at)
            .with_context(|| format!("{name} changes what another mutant changes in {file}"))?;
        edited.push_str(kept);
        edited.push_str(&hunk.new.replace("MUTANT", &question(file, name)));
        done = at + hunk.old.len();
    }
    edited.push_str(text.get(done..).unwrap_or_default());
    Ok(edited)
}

/// Crates that other crates rest on have the question themselves.
fn question(file: &str, name: &str) -> String {
    let place = match file.split('/').next() {
        Some("crds" | "client") => "crate",
        _ => "slipway_api",
    };
    format!("{place}::mutant(\"{name}\")")
}

/// What answers the question, added to a crate's root.
pub(crate) const ANSWER: &str = r#"

/// True when the programs run as this mutant.
#[allow(clippy::disallowed_methods, reason = "a mutant is named by the environment")]
pub fn mutant(name: &str) -> bool {
    static NAMES: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let names = NAMES.get_or_init(|| std::env::var("SLIPWAY_MUTANT").unwrap_or_default());
    names.split(',').any(|one| one == name)
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache;

    const TEXT: &str = "# the bank\nmutant one\nbreaks S1\nrule G1\napi p::m::t\nin a.rs\n-if x {\n-    y\n+if x || MUTANT {\n+    y\n-z\n+MUTANT\n";

    #[test]
    fn a_mutant_has_several_changes() {
        let all = parse(TEXT).unwrap();
        assert_eq!((all[0].hunks.len(), all[0].api.as_str()), (2, "p::m::t"));
        assert_eq!(all[0].hunks[0].old, "if x {\n    y");
        let hunks: Vec<_> = all[0].hunks.iter().map(|hunk| ("one", hunk)).collect();
        let edited = edit("a/a.rs", "z if x {\n    y\n", &hunks).unwrap();
        let question = "slipway_api::mutant(\"one\")";
        assert_eq!(edited, format!("{question} if x || {question} {{\n    y\n"));
    }

    #[test]
    fn a_mutant_that_does_not_apply_exactly_once_is_refused() {
        let all = parse(TEXT).unwrap();
        let hunks = [("one", &all[0].hunks[1])];
        assert!(edit("a/a.rs", "no such text", &hunks).is_err());
        assert!(edit("a/a.rs", "z z", &hunks).is_err());
    }

    #[test]
    fn every_mutant_of_the_bank_applies_to_this_tree() {
        let root = cache::root();
        let all = read(&root.join("tests/mutants")).unwrap();
        assert!(
            all.len() >= 40,
            "faults.md 3.3: at least 40, not {}",
            all.len()
        );
        apply(&root, &all).unwrap();
    }
}
