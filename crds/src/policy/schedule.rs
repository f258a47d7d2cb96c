//! When reboots may start: time zone, windows, freezes and the cutoff before either ends.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema;

/// Most windows of a schedule.
pub const WINDOWS_MAX: usize = 32;
/// Most freezes of a schedule.
pub const FREEZES_MAX: usize = 64;
/// `schedule.cutoff`: by the policy's own past reboots.
pub const CUTOFF_AUTO: &str = "Auto";

/// When reboots may start: inside any window, and in no freeze. With no windows, always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// IANA time zone of the windows, such as `Europe/Berlin`. An unknown name makes the policy not
    /// Ready and nothing is granted. Default `UTC`.
    #[serde(default = "Schedule::utc")]
    #[schemars(schema_with = "schema::time_zone")]
    pub time_zone: String,
    /// The union of these is when reboots may start; a node that is drained when the window closes
    /// is uncordoned again. None means always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub windows: Vec<Window>,
    /// Stretches of time in which nothing starts, whatever the windows say; a node that is drained
    /// when one begins is uncordoned again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub freezes: Vec<Freeze>,
    /// Nothing starts with less time than this before the window ends or a freeze begins. `Auto` is
    /// the time that nine of ten of this policy's last reboots took, and `reboot.timeout` until one
    /// is on record. The second key, after the drain, asks for the time of the reboot alone, and
    /// for no more than this. At least 2m are always kept. Default Auto.
    #[serde(default = "Schedule::auto")]
    #[schemars(schema_with = "schema::cutoff")]
    pub cutoff: String,
}

impl Schedule {
    fn auto() -> String {
        CUTOFF_AUTO.to_owned()
    }

    fn utc() -> String {
        "UTC".to_owned()
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            time_zone: Self::utc(),
            windows: Vec::new(),
            freezes: Vec::new(),
            cutoff: Self::auto(),
        }
    }
}

/// A weekly window, or one that starts by `cron` and lasts for `duration`.
/// A weekly window belongs to the day on which it starts, and may cross midnight.
/// A start in the hour that a clock change skips is the first instant after it, an end there is the
/// moment of the change; in an hour that comes twice both mean the first. `duration` is elapsed time.
/// Half-open: [start, end).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.start) == has(self.end)").message("write both start and end, or neither for the whole day"),
    validation = Rule::new("!has(self.start) || !has(self.end) || self.start != self.end").message("start and end are the same, so the window has no length; leave both out for the whole day"),
    validation = Rule::new("has(self.cron) == has(self.duration)").message("write cron and duration together: cron is when the window starts, duration how long it stays open"),
    validation = Rule::new("!has(self.cron) || !(has(self.days) || has(self.start) || has(self.end))").message("a window is either weekly (days, start, end) or by cron and duration, not both"),
    validation = Rule::new("!has(self.duration) || duration(self.duration) > duration('0s')").message("a window of no length is never open; write a duration such as 4h")
)]
pub struct Window {
    /// Days on which the window starts. Default every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Weekday>,
    /// Wall-clock time `HH:MM` at which it starts. Default 00:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::start_of_window")]
    pub start: Option<String>,
    /// Wall-clock time `HH:MM` at which it ends; `24:00` is the end of the day; earlier than `start`
    /// means the next day. Default 24:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::end_of_window")]
    pub end: Option<String>,
    /// When the window starts, in the schedule's time zone: minute, hour, day of month, month, day
    /// of week, as in `0 2 20 * *`. Where both days are restricted, either one suffices. The minute
    /// is one or more numbers. Needs `duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cron")]
    pub cron: Option<String>,
    /// How long a window by `cron` stays open, in elapsed time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// A stretch of time in which nothing starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("size(self.from) != size(self.to) || size(self.from) != 10 || self.from <= self.to").message("the freeze ends before it begins; from is the first day and to the last")
)]
pub struct Freeze {
    /// First day (`2026-12-20`, from its midnight in the schedule's time zone) or first instant
    /// (`2026-12-20T18:00:00Z`).
    #[schemars(schema_with = "schema::moment")]
    pub from: String,
    /// Last day (`2027-01-04`, frozen to its end) or the first instant that is free again.
    #[schemars(schema_with = "schema::moment")]
    pub to: String,
    /// Why, for everybody who waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// A day of the week.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}
