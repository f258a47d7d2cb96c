//! When reboots may start: time zone and windows.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Most windows of a schedule.
pub const WINDOWS_MAX: usize = 32;

/// When reboots may start: inside any window. With no windows, always.
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
}

impl Schedule {
    fn utc() -> String {
        "UTC".to_owned()
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            time_zone: Self::utc(),
            windows: Vec::new(),
        }
    }
}

/// A weekly window. It belongs to the day on which it starts, and may cross midnight.
/// A start in the hour that a clock change skips is the first instant after it, an end there is the
/// moment of the change; in an hour that comes twice both mean the first. Half-open: [start, end).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.start) == has(self.end)").message("write both start and end, or neither for the whole day"),
    validation = Rule::new("!has(self.start) || !has(self.end) || self.start != self.end").message("start and end are the same, so the window has no length; leave both out for the whole day")
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
