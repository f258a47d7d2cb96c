//! From a policy as written to one that can be obeyed.
//!
//! The CRD's schema refuses what a schema can; this is for what only a program knows (zone data),
//! and guards against objects stored before a rule existed. Every error names its field.

mod schedule;

use jiff::tz::TimeZone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::blockers::{self, BlockerRule};
use crate::checks;
use crate::policy::{Mode, RebootPolicySpec, Weekday};

pub use schedule::{CronWindow, Cutoff, Frozen};

/// Why a stored policy cannot be obeyed. The policy is then not Ready, and grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// `schedule.timeZone` is not in the zone data.
    #[error(
        "spec.schedule.timeZone: there is no time zone {0:?}; write an IANA name such as Europe/Berlin"
    )]
    UnknownTimeZone(String),
    /// A window that cannot be read.
    #[error("spec.schedule.windows[{index}]: {problem}")]
    InvalidWindow {
        /// Position in the list, from 0.
        index: usize,
        /// What is wrong and what to write.
        problem: String,
    },
    /// A freeze that cannot be read.
    #[error("spec.schedule.freezes[{index}]: {problem}")]
    InvalidFreeze {
        /// Position in the list, from 0.
        index: usize,
        /// What is wrong and what to write.
        problem: String,
    },
    /// A cutoff that is neither `Auto` nor a duration.
    #[error("spec.schedule.cutoff: {0:?} is neither Auto nor a duration such as 45m")]
    InvalidCutoff(String),
    /// A selector that cannot be read.
    #[error("spec.nodeSelector: {0}")]
    InvalidSelector(String),
    /// A selector of pods that cannot be read.
    #[error("spec.drain.{field}: {problem}")]
    InvalidDrain {
        /// The field below `spec.drain`.
        field: &'static str,
        /// What is wrong and what to write.
        problem: String,
    },
    /// A budget that is neither a number nor a percentage.
    #[error("spec.budget.maxUnavailable: {0:?} is neither a number of nodes nor a percentage")]
    InvalidBudget(String),
    /// The same within a domain.
    #[error(
        "spec.budget.perDomain.maxUnavailable: {0:?} is neither a number of nodes nor a percentage"
    )]
    InvalidDomainBudget(String),
    /// A label that the policy both selects by and writes.
    #[error(
        "spec.nodeMetadata: label {0} is one that spec.nodeSelector selects by; the nodes would leave the policy while they are rebooted"
    )]
    SelectedLabel(String),
    /// A check that no agent has.
    #[error("spec.triggers.checks: {0:?}: {fix}", fix = checks::UNKNOWN_FIX)]
    UnknownCheck(String),
    /// A blocker that cannot be asked.
    #[error("{field}: {problem}")]
    InvalidBlocker {
        /// The field, from `spec` on.
        field: String,
        /// What is wrong and what to write.
        problem: String,
    },
}

impl PolicyError {
    /// Reason of the condition `Ready=False`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownTimeZone(_) => "UnknownTimeZone",
            Self::InvalidWindow { .. } => "InvalidWindow",
            Self::InvalidFreeze { .. } => "InvalidFreeze",
            Self::InvalidCutoff(_) => "InvalidCutoff",
            Self::InvalidSelector(_) => "InvalidSelector",
            Self::InvalidDrain { .. } => "InvalidDrain",
            Self::InvalidBudget(_) | Self::InvalidDomainBudget(_) => "InvalidBudget",
            Self::SelectedLabel(_) => "SelectedLabel",
            Self::UnknownCheck(_) => "UnknownCheck",
            Self::InvalidBlocker { .. } => "InvalidBlocker",
        }
    }
}

/// A policy that can be obeyed: parsed once, trusted afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedPolicy {
    /// The settings as written.
    pub spec: RebootPolicySpec,
    /// Time zone of the windows.
    pub zone: TimeZone,
    /// Weekly windows in minutes of the day.
    pub windows: Vec<DailyWindow>,
    /// Windows by cron. Neither these nor weekly ones: always open.
    pub crons: Vec<CronWindow>,
    /// Freezes as instants.
    pub freezes: Vec<Frozen>,
    /// The time that has to be left.
    pub cutoff: Cutoff,
    /// The budget before it meets the number of nodes.
    pub budget: BudgetLimit,
    /// What else must agree.
    pub blockers: Vec<BlockerRule>,
}

/// A window on the days on which it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyWindow {
    /// Start days; never empty.
    pub days: Vec<Weekday>,
    /// Start in minutes after midnight, 0 to 1439.
    pub start_minute: u16,
    /// End in minutes after midnight, 1 to 1440; at or below the start means the next day.
    pub end_minute: u16,
}

/// `maxUnavailable` as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetLimit {
    /// That many nodes.
    Count(usize),
    /// That share of the nodes matched, 0 to 100.
    Percent(u8),
}

impl BudgetLimit {
    /// The number of nodes for `matched` nodes: rounded down, at least 1 unless 0 is written.
    pub fn resolve(self, matched: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(0) => 0,
            Self::Percent(percent) => (matched.saturating_mul(usize::from(percent)) / 100).max(1),
        }
    }
}

impl ValidatedPolicy {
    /// True when the policy's selector matches these labels.
    pub fn selects<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        selector_matches(&self.spec.node_selector, label)
    }

    /// True when the policy grants reboots at all.
    pub fn grants(&self) -> bool {
        match self.spec.mode {
            Mode::Automatic | Mode::Approve => true,
            Mode::Observe => false,
        }
    }
}

/// Parses a policy.
///
/// # Errors
/// The first field that cannot be obeyed.
pub fn validate_policy(spec: &RebootPolicySpec) -> Result<ValidatedPolicy, PolicyError> {
    let name = &spec.schedule.time_zone;
    // `TimeZone::get` ignores case; a name must be spelled as the zone data spells it, else the
    // same policy means nothing to other tools.
    let zone = TimeZone::get(name)
        .ok()
        .filter(|zone| zone.iana_name() == Some(name.as_str()))
        .ok_or_else(|| PolicyError::UnknownTimeZone(name.clone()))?;
    let schedule = schedule::parse(&spec.schedule, &zone)?;
    check_selector(&spec.node_selector)?;
    for (field, selector) in [
        ("podSelector", &spec.drain.pod_selector),
        ("daemonSetPods", &spec.drain.daemon_set_pods),
    ] {
        if let Some(Err(PolicyError::InvalidSelector(problem))) =
            selector.as_ref().map(check_selector)
        {
            return Err(PolicyError::InvalidDrain { field, problem });
        }
    }
    if let Some(label) =
        selected_labels(&spec.node_selector).find(|label| spec.node_metadata.writes(label))
    {
        return Err(PolicyError::SelectedLabel(label.to_owned()));
    }
    for check in &spec.triggers.checks {
        if !checks::is_known(check) {
            return Err(PolicyError::UnknownCheck(check.clone()));
        }
    }
    let budget = parse_budget(&spec.budget.max_unavailable).map_err(PolicyError::InvalidBudget)?;
    if let Some(domains) = &spec.budget.per_domain {
        parse_budget(&domains.max_unavailable).map_err(PolicyError::InvalidDomainBudget)?;
    }
    if let Some(query) = &spec.verify.promql {
        blockers::verify_query(query)?;
    }
    Ok(ValidatedPolicy {
        spec: spec.clone(),
        zone,
        windows: schedule.windows,
        crons: schedule.crons,
        freezes: schedule.freezes,
        cutoff: schedule.cutoff,
        budget,
        blockers: blockers::parse(&spec.blockers)?,
    })
}

impl BudgetLimit {
    /// Reads a number of nodes or a percentage.
    ///
    /// # Errors
    /// The text that is neither.
    pub fn parse(value: &IntOrString) -> Result<Self, String> {
        parse_budget(value)
    }
}

fn parse_budget(value: &IntOrString) -> Result<BudgetLimit, String> {
    let text = match value {
        IntOrString::Int(count) => {
            return usize::try_from(*count)
                .map(BudgetLimit::Count)
                .map_err(|_| count.to_string());
        }
        IntOrString::String(text) => text,
    };
    text.strip_suffix('%')
        .and_then(|number| number.parse::<u8>().ok())
        .filter(|percent| *percent <= 100)
        .map(BudgetLimit::Percent)
        .ok_or_else(|| text.clone())
}

impl Weekday {
    /// Monday to Sunday.
    pub const ALL: [Self; 7] = [
        Self::Mon,
        Self::Tue,
        Self::Wed,
        Self::Thu,
        Self::Fri,
        Self::Sat,
        Self::Sun,
    ];
}

/// Every label that a selector looks at.
fn selected_labels(selector: &LabelSelector) -> impl Iterator<Item = &str> {
    let labels = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    labels
        .map(|(key, _)| key.as_str())
        .chain(expressions.map(|requirement| requirement.key.as_str()))
}

pub(crate) fn check_selector(selector: &LabelSelector) -> Result<(), PolicyError> {
    for requirement in selector.match_expressions.iter().flatten() {
        let values = requirement
            .values
            .as_ref()
            .is_some_and(|values| !values.is_empty());
        let fits = match requirement.operator.as_str() {
            "In" | "NotIn" => values,
            "Exists" | "DoesNotExist" => !values,
            other => {
                return Err(PolicyError::InvalidSelector(format!(
                    "unknown operator {other:?}"
                )));
            }
        };
        if !fits {
            return Err(PolicyError::InvalidSelector(format!(
                "{} {}: In and NotIn need values, Exists and DoesNotExist take none",
                requirement.key, requirement.operator
            )));
        }
    }
    Ok(())
}

/// True when every requirement of the selector holds; the empty selector matches everything
/// (Kubernetes' rule for `metav1.LabelSelector`).
pub fn selector_matches<'a>(
    selector: &LabelSelector,
    label: impl Fn(&str) -> Option<&'a str>,
) -> bool {
    let labels = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    labels
        .into_iter()
        .all(|(key, value)| label(key) == Some(value.as_str()))
        && expressions
            .into_iter()
            .all(|requirement| requirement_holds(requirement, label(&requirement.key)))
}

fn requirement_holds(requirement: &LabelSelectorRequirement, value: Option<&str>) -> bool {
    let listed = |value: &str| requirement.values.iter().flatten().any(|one| one == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // Refused by `check_selector`; matching nothing is the safe reading.
        _ => false,
    }
}
