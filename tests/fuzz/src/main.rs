//! One target under libFuzzer, which owns the command line; the target's name comes by the environment.
//! Started by `cargo xtask fuzz`.
#![no_main]

use slipway_fuzz::{Target, find};

libfuzzer_sys::fuzz_target!(
    init: {
        let _: Target = chosen();
    },
    |input: &[u8]| {
        (chosen().run)(input);
    }
);

fn chosen() -> Target {
    let name = std::env::var_os("SLIPWAY_FUZZ_TARGET").unwrap_or_default();
    match find(&name.to_string_lossy()) {
        Some(target) => target,
        // Before the first input, so that no input gets the blame.
        None => std::process::exit(2),
    }
}
