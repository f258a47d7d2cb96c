//! The protocol without one of its rules: the model must notice, and by the property that is named.

use slipway_model::mutant::{Mutant, OF_AGENT, OF_OPERATOR};

/// Those whose account is another than what is said of them.
fn wrong(mutants: &[Mutant]) -> Vec<String> {
    let is_as_said = |mutant: &Mutant, verdict: Option<&str>| match (mutant.breaks, verdict) {
        (Some(name), Some(verdict)) => verdict.starts_with(name),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let accounts = mutants
        .iter()
        .map(|mutant| (mutant, mutant.account().verdict));
    accounts
        .filter(|(mutant, verdict)| !is_as_said(mutant, *verdict))
        .map(|(mutant, verdict)| {
            format!(
                "{}: {verdict:?} instead of {:?}",
                mutant.name, mutant.breaks
            )
        })
        .collect()
}

#[test]
fn every_mutant_of_the_operator_is_killed_unless_another_rule_covers_it() {
    let wrong = wrong(OF_OPERATOR);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_mutant_of_the_agent_is_killed_unless_another_rule_covers_it() {
    let wrong = wrong(OF_AGENT);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
