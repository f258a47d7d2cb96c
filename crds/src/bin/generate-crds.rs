//! Writes the generated CRDs to a directory, or with `--check` says which differ.

use std::path::PathBuf;
use std::process::ExitCode;

use slipway_api::schema;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "crds/yaml".to_owned()));
    let check = arguments.next().is_some_and(|flag| flag == "--check");
    let mut stale = false;
    for (name, text) in schema::documents() {
        let path = directory.join(name);
        if check {
            let same = std::fs::read_to_string(&path).is_ok_and(|present| present == text);
            stale |= !same;
        } else if std::fs::write(&path, text).is_err() {
            stale = true;
        }
    }
    if stale {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
