//! The agent's installed configuration: what could not be obeyed is refused, and what is obeyed is
//! what the file says, word by word.

use serde_json::Value;
use slipway_node_agent::installed::Installed;

use crate::input::scratch;

pub(crate) fn run(input: &[u8]) {
    let directory = scratch();
    let path = directory.path().join("agent.json");
    std::fs::write(&path, input).unwrap();
    let Ok(installed) = Installed::read(Some(&path)) else {
        return;
    };
    let raw: Value = serde_json::from_slice(input).expect("it was understood");
    let methods = raw.get("methods").or_else(|| raw.get(0));
    for (name, method) in &installed.methods {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(letters));
        assert!(name.len() <= 63, "policies cannot name it");
        let words = &method.command;
        assert!(words[0].starts_with('/'), "found by somebody's PATH");
        assert!(words.len() <= 64 && words.iter().all(|word| !word.contains('\0')));
        let written = methods.and_then(|methods| methods.get(name));
        let written = written.and_then(|method| method.get("command").or_else(|| method.get(0)));
        assert_eq!(written, Some(&Value::from(words.clone())));
    }
}
