//! What the agent reads from hands that are not its own, mangled: one target for each thing read.
//!
//! Owns the properties, not only that nothing panics: what is read is what was written or an error,
//! and garbage is never a success. A target is a function of bytes; `tests/fuzz.rs` replays the corpus
//! (`tests/corpus/fuzz/TARGET`) with every commit, and `cargo xtask fuzz` lets libFuzzer look for more.
//! Never touches anything outside a directory of its own, and no PID 1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a property that does not hold ends the program"
)]

mod annotation;
pub mod bus;
mod facts;
mod input;
mod installed;
mod journal;
mod lease;
mod logind;
mod method;
mod sentinel;

/// One thing to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its directory in the corpus.
    pub name: &'static str,
    /// Reads one input; panics where a property does not hold.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "annotation",
        run: annotation::run,
    },
    Target {
        name: "installed",
        run: installed::run,
    },
    Target {
        name: "journal",
        run: journal::run,
    },
    Target {
        name: "lease",
        run: lease::run,
    },
    Target {
        name: "logind",
        run: logind::run,
    },
    Target {
        name: "method",
        run: method::run,
    },
    Target {
        name: "sentinel",
        run: sentinel::run,
    },
];

/// The target of a name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
