//! A program of the host that reboots it: however it ends, only success is an acceptance, and only one
//! that was never started is a refusal.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arbitrary::Unstructured;
use slipway_api::policy::RebootMethod;
use slipway_node_agent::Host;
use slipway_node_agent::host::RebootError;
use slipway_node_agent::host::init::Init;
use slipway_node_agent::host::machine::Machine;
use slipway_node_agent::installed::Method;

use crate::input::{byte, bytes, one_of, runtime, scratch};

/// Writes, and ends by a signal or with a status.
const SCRIPT: &str =
    r#"printf "$1"; printf "$2" >&2; if [ "$3" != 0 ]; then kill "-$3" $$; fi; exit "$4""#;
/// Longest that a reason may be: it ends up in the journal and in a lease.
const REASON_MAX: usize = 512;

pub(crate) fn run(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let how = byte(&mut u);
    let signal = if how & 1 == 0 {
        0
    } else {
        one_of(&mut u, &[1, 2, 9, 15])
    };
    let status = byte(&mut u);
    let times = usize::from(byte(&mut u) % 64) + 1;
    let (said, complained) = (bytes(&mut u, 80), bytes(&mut u, 80));
    let missing = how & 6 == 6;
    let program = if missing { "/nonexistent" } else { "/bin/sh" };
    let command = [
        program.to_owned(),
        "-c".to_owned(),
        SCRIPT.to_owned(),
        "sh".to_owned(),
        octal(&said).repeat(times),
        octal(&complained),
        signal.to_string(),
        status.to_string(),
    ];
    let directory = scratch();
    let host = machine(directory.path(), command.to_vec());
    let answer =
        runtime(false).block_on(host.reboot(&RebootMethod::Named("power-cycle".to_owned())));
    let succeeds = signal == 0 && status == 0 && !missing;
    match answer {
        Ok(()) => assert!(succeeds, "it ended with {status}, signal {signal}"),
        Err(RebootError::Refused { .. }) => assert!(missing, "it was started"),
        Err(RebootError::Failed { reason }) => {
            assert!(!succeeds && !missing);
            assert!(reason.chars().count() <= REASON_MAX, "{reason}");
            assert!(!reason.chars().any(char::is_control), "{reason:?}");
        }
        Err(RebootError::Unclear { reason }) => panic!("it ended: {reason}"),
    }
}

fn octal(bytes: &[u8]) -> String {
    let escaped = bytes.iter().map(|byte| format!("\\{byte:03o}"));
    escaped.collect::<Vec<_>>().concat()
}

/// A machine whose PID 1 is only said to be one, and shares our mounts.
fn machine(directory: &Path, command: Vec<String>) -> Machine {
    let proc = directory.join("proc");
    for part in ["1/ns", "self/ns"] {
        fs::create_dir_all(proc.join(part)).unwrap();
    }
    fs::write(proc.join("1/comm"), "systemd\n").unwrap();
    fs::write(proc.join("1/ns/mnt"), "").unwrap();
    fs::hard_link(proc.join("1/ns/mnt"), proc.join("self/ns/mnt")).unwrap();
    let methods = BTreeMap::from([("power-cycle".to_owned(), Method { command })]);
    let bus = format!("unix:path={}", directory.join("no-bus").display());
    Machine::new("/nonexistent".into(), bus, methods).with_init(Init::of(proc))
}
