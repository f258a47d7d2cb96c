//! What became of each mutant when it was last tried: tests/mutants/verdicts.tsv, and the table that
//! docs/mutants.md shows of it. A mutant that names a test on a real API server has two.
//!
//! A verdict is of one text of a mutant: one that was edited since counts as never tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::bank::Mutant;
use super::layers::API;

const FILE: &str = "tests/mutants/verdicts.tsv";
const TABLE: &str = "docs/mutants.md";
/// The layer of a mutant that nothing noticed.
const SURVIVED: &str = "survived";

/// What a verdict is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first layer that noticed.
    First,
    /// The test on a real API server that the mutant names.
    Api,
}

impl Kind {
    /// True when this layer gives such verdicts.
    pub(crate) fn is_of(self, layer: &str) -> bool {
        (layer == API) == (self == Self::Api)
    }

    /// True when the mutant has such a verdict.
    pub(crate) fn has(self, mutant: &Mutant) -> bool {
        self == Self::First || !mutant.api.is_empty()
    }

    /// The name under which the verdict is kept.
    fn key(self, mutant: &Mutant) -> String {
        match self {
            Self::First => mutant.name.clone(),
            Self::Api => format!("{}@{API}", mutant.name),
        }
    }
}

/// Verdicts by the name of their mutant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts(BTreeMap<String, Last>);

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Last {
    text: String,
    layer: String,
    by: String,
}

impl Verdicts {
    /// Those of the tree; none where there is no file yet.
    pub(crate) fn read(root: &Path) -> Self {
        Self::parse(&fs::read_to_string(root.join(FILE)).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let verdicts = text.lines().filter_map(|line| {
            let mut fields = line.split('\t').map(str::to_owned);
            let name = fields.next()?;
            let (text, layer, by) = (fields.next()?, fields.next()?, fields.next()?);
            Some((name, Last { text, layer, by }))
        });
        Self(verdicts.collect())
    }

    /// A mutant was tried; `None` for one that survived what was `tried`.
    pub(crate) fn note(
        &mut self,
        mutant: &Mutant,
        kind: Kind,
        killed: Option<(&str, &str)>,
        tried: &str,
    ) {
        let (layer, by) = killed.unwrap_or((SURVIVED, tried));
        let last = Last {
            text: fingerprint(mutant, kind),
            layer: layer.to_owned(),
            by: by.replace(['\t', '|'], " "),
        };
        self.0.insert(kind.key(mutant), last);
    }

    /// True when the mutant, as it is now, was noticed.
    pub(crate) fn is_killed(&self, mutant: &Mutant, kind: Kind) -> bool {
        self.of(mutant, kind)
            .is_some_and(|last| last.layer != SURVIVED)
    }

    fn of(&self, mutant: &Mutant, kind: Kind) -> Option<&Last> {
        let last = self.0.get(&kind.key(mutant))?;
        (last.text == fingerprint(mutant, kind)).then_some(last)
    }

    /// Writes them and their table; verdicts of mutants that are no more are left out.
    pub(crate) fn write(&mut self, root: &Path, bank: &[Mutant]) -> Result<()> {
        let kinds = [Kind::First, Kind::Api];
        let keys = |mutant| kinds.map(|kind: Kind| kind.key(mutant));
        let present: BTreeSet<String> = bank.iter().flat_map(keys).collect();
        self.0.retain(|key, _| present.contains(key));
        let mut lines = String::new();
        for (name, last) in &self.0 {
            writeln!(lines, "{name}\t{}\t{}\t{}", last.text, last.layer, last.by)?;
        }
        put(&root.join(FILE), &lines)?;
        put(&root.join(TABLE), &self.table(bank))
    }

    /// docs/mutants.md.
    fn table(&self, bank: &[Mutant]) -> String {
        let mut layers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut rows = String::new();
        for mutant in bank {
            let last = self.of(mutant, Kind::First);
            let layer = last.map_or("not tried", |last| last.layer.as_str());
            let by = last.map_or("", |last| last.by.as_str());
            *layers.entry(layer).or_default() += 1;
            let row = [
                mutant.name.as_str(),
                &mutant.breaks,
                layer,
                by,
                &mutant.rule,
            ];
            rows.push_str("| ");
            rows.push_str(&row.join(" | "));
            rows.push_str(" |\n");
        }
        let counts: Vec<String> = layers
            .iter()
            .map(|(layer, count)| format!("{layer}: {count}"))
            .collect();
        format!(
            "# Mutants\n\nWritten by `cargo xtask mutants --record`; each is the programs without one \
             rule, and `by` is what noticed first, in the layer that noticed.\nThe layers are tried \
             from the cheapest on, so that a mutant counts for the first.\n\n{} mutants: {}.\n\n\
             | mutant | breaks | layer | by | the rule that it lacks |\n|---|---|---|---|---|\n{rows}{}",
            bank.len(),
            counts.join(", "),
            self.api_table(bank),
        )
    }

    /// What the tests on a real API server told; nothing where no mutant names one.
    fn api_table(&self, bank: &[Mutant]) -> String {
        let those: Vec<&Mutant> = bank.iter().filter(|one| Kind::Api.has(one)).collect();
        let mut noticed = 0;
        let mut rows = String::new();
        for mutant in &those {
            let last = self.of(mutant, Kind::Api);
            noticed += usize::from(self.is_killed(mutant, Kind::Api));
            let said = match last {
                Some(last) if last.layer == SURVIVED => SURVIVED,
                Some(last) => &last.by,
                None => "not tried",
            };
            let row = [mutant.rule.as_str(), &mutant.name, &mutant.api, said];
            rows.push_str("| ");
            rows.push_str(&row.join(" | "));
            rows.push_str(" |\n");
        }
        if those.is_empty() {
            return String::new();
        }
        format!(
            "\n## Rules of verification, failures and modes, on a real API server\n\nThe operator and \
             the agents run as this mutant, as real processes on a real control plane, and the named \
             test has to fail: `cargo xtask mutants --layer api`.\n`said` is what the test failed \
             with.\n\n{} mutants, {noticed} noticed.\n\n| the rule that it lacks | mutant | test | \
             said |\n|---|---|---|---|\n{rows}",
            those.len(),
        )
    }
}

fn fingerprint(mutant: &Mutant, kind: Kind) -> String {
    let mut hasher = DefaultHasher::new();
    if kind == Kind::Api {
        mutant.api.hash(&mut hasher);
    }
    for hunk in &mutant.hunks {
        (&hunk.file, &hunk.old, &hunk.new).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

fn put(path: &PathBuf, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache;
    use crate::mutants::bank::{self, Hunk};

    fn mutant(new: &str) -> Mutant {
        Mutant {
            name: "one".to_owned(),
            breaks: "S1".to_owned(),
            rule: "a rule".to_owned(),
            api: "protocol::m::t".to_owned(),
            hunks: vec![Hunk {
                file: "a.rs".to_owned(),
                old: "x".to_owned(),
                new: new.to_owned(),
            }],
        }
    }

    #[test]
    fn a_verdict_is_of_one_text_of_a_mutant() {
        let mut verdicts = Verdicts::default();
        verdicts.note(&mutant("y"), Kind::First, Some(("agent", "a|test")), "");
        assert!(verdicts.is_killed(&mutant("y"), Kind::First));
        assert!(!verdicts.is_killed(&mutant("z"), Kind::First));
        verdicts.note(&mutant("z"), Kind::First, None, "agent, model");
        assert!(!verdicts.is_killed(&mutant("z"), Kind::First));
        let table = verdicts.table(&[mutant("z")]);
        assert!(table.contains("| one | S1 | survived | agent, model | a rule |"));
        assert!(verdicts.table(&[mutant("y")]).contains("not tried: 1"));
    }

    #[test]
    fn what_a_test_on_a_real_api_server_says_is_a_verdict_of_its_own() {
        let mut verdicts = Verdicts::default();
        verdicts.note(&mutant("y"), Kind::First, Some(("agent", "a test")), "");
        assert!(!verdicts.is_killed(&mutant("y"), Kind::Api));
        verdicts.note(&mutant("y"), Kind::Api, Some(("api", "2 s")), "");
        assert!(verdicts.is_killed(&mutant("y"), Kind::Api));
        let table = verdicts.table(&[mutant("y")]);
        assert!(table.contains("| a rule | one | protocol::m::t | 2 s |"));
        let other = Mutant {
            api: "protocol::m::u".to_owned(),
            ..mutant("y")
        };
        assert!(verdicts.is_killed(&other, Kind::First));
        assert!(!verdicts.is_killed(&other, Kind::Api));
    }

    #[test]
    fn the_table_is_what_the_verdicts_say() {
        let root = cache::root();
        let all = bank::read(&root.join("tests/mutants")).unwrap();
        let table = fs::read_to_string(root.join(TABLE)).unwrap();
        assert_eq!(
            table,
            Verdicts::read(&root).table(&all),
            "run cargo xtask mutants --record --list"
        );
    }
}
