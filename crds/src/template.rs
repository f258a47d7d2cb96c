//! Texts with named variables.
//!
//! Called by the operator for each message. The schema refuses a text that cannot be read; this
//! reads what was stored before that rule existed as far as it can be read.

use std::fmt::Write;

use crate::policy::NotificationEvent;

/// Most characters of a text whose variables were filled in.
pub const TEXT_MAX: usize = 4096;

/// What variables stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables<'a> {
    /// `{node}`; empty for what is about the policy.
    pub node: &'a str,
    /// `{policy}`.
    pub policy: &'a str,
    /// `{event}`.
    pub event: NotificationEvent,
    /// `{fence}`; 0 where no reboot is spoken of.
    pub fence: i64,
    /// `{reason}`.
    pub reason: &'a str,
    /// `{message}`.
    pub message: &'a str,
    /// `{duration}`; empty where it is not known.
    pub duration: &'a str,
}

impl Variables<'_> {
    fn write(&self, name: &str, text: &mut String) -> bool {
        let value = match name {
            "node" => self.node,
            "policy" => self.policy,
            "event" => self.event.as_str(),
            "reason" => self.reason,
            "message" => self.message,
            "duration" => self.duration,
            // Writing to a String cannot fail.
            "fence" => return write!(text, "{}", self.fence).is_ok(),
            _ => return false,
        };
        text.push_str(value);
        true
    }
}

/// Fills in the variables. What is in braces and no variable stays as it is written.
///
/// What a variable stands for is never read again: a node's message cannot name variables.
pub fn render(template: &str, variables: &Variables<'_>) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let brace = if from.starts_with('{') { "{" } else { "}" };
        let after = from.strip_prefix(brace).unwrap_or_default();
        rest = if let Some(after) = after.strip_prefix(brace) {
            text.push_str(brace);
            after
        } else {
            let named = after.split_once('}').filter(|_| brace == "{");
            match named {
                Some((name, after)) if variables.write(name, &mut text) => after,
                Some(_) | None => {
                    text.push_str(brace);
                    after
                }
            }
        };
    }
    text.push_str(rest);
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Templates;

    fn variables(event: NotificationEvent) -> Variables<'static> {
        Variables {
            node: "n1",
            policy: "workers",
            event,
            fence: 7,
            reason: "SentinelFile",
            message: "{node} says {so}",
            duration: "3m",
        }
    }

    #[test]
    fn the_default_texts_of_progress_are_kureds() {
        let text = |event| render(Templates::default().text(event), &variables(event));
        assert_eq!(text(NotificationEvent::Draining), "Draining node n1");
        assert_eq!(text(NotificationEvent::Rebooting), "Rebooting node n1");
        assert_eq!(
            text(NotificationEvent::Completed),
            "Node n1 rebooted & uncordoned successfully!"
        );
    }

    #[test]
    fn every_default_text_is_filled_in_whole() {
        for event in NotificationEvent::ALL {
            let mut variables = variables(event);
            variables.message = "why";
            let text = render(Templates::default().text(event), &variables);
            assert!(!text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn variables_are_filled_in_once_and_braces_are_doubled() {
        for (template, expected) in [
            ("", ""),
            ("plain 100% %s", "plain 100% %s"),
            (
                "{node}|{policy}|{event}|{fence}|{reason}|{duration}",
                "n1|workers|Failed|7|SentinelFile|3m",
            ),
            // What a variable stands for is no template.
            ("{message}", "{node} says {so}"),
            ("{{node}} {{{node}}}", "{node} {n1}"),
            ("ü{node}ß", "ün1ß"),
            // Stored before the schema refused it.
            ("{what} {Node} { node } {", "{what} {Node} { node } {"),
            ("} {node", "} {node"),
            ("{{}}", "{}"),
        ] {
            assert_eq!(
                render(template, &variables(NotificationEvent::Failed)),
                expected,
                "{template}"
            );
        }
    }

    #[test]
    fn a_text_is_bounded() {
        let long = "ü".repeat(3000);
        let mut variables = variables(NotificationEvent::Failed);
        variables.message = &long;
        let text = render("{message}{message}", &variables);
        assert_eq!(text.chars().count(), TEXT_MAX);
    }
}
