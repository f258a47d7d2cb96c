//! Prints docs/reasons.md: every reason, its sentence and what clears it.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(slipway_planner::catalogue::markdown().as_bytes())
}
