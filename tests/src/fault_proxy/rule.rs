//! Which request meets which fault.

use std::time::Duration;

use http::Method;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is passed on after a time.
    Delay(Duration),
    /// It is never passed on, and the connection is closed without an answer.
    DropBefore,
    /// It is passed on and takes effect, and the connection is closed without an answer.
    DropAfter,
    /// It is never passed on, and the connection is reset.
    Reset,
    /// It is never passed on and never answered.
    Blackhole,
    /// It is never answered, and passed on after a time: it arrives when its sender has given up.
    Late(Duration),
    /// It is passed on, and half of the answer comes back before the connection is closed.
    Truncate,
    /// It is answered with a status code, and with `Retry-After` seconds where there are any.
    Refuse(u16, Option<u32>),
    /// It is passed on twice, one after the other; the second answer comes back.
    Twice,
    /// A watch that is told at once that its history is gone (410 in the stream).
    Expired,
}

/// A fault, and the requests that meet it.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Method,
    path: Vec<String>,
    ending: String,
    body: String,
    fault: Fault,
    left: usize,
}

impl Rule {
    /// Requests of a method whose path and query contain `path`: the first one meets the fault.
    pub fn new(method: Method, path: &str, fault: Fault) -> Self {
        Self {
            method,
            path: vec![path.to_owned()],
            ending: String::new(),
            body: String::new(),
            fault,
            left: 1,
        }
    }

    /// Only those whose path and query contain this as well.
    #[must_use]
    pub fn and(mut self, path: &str) -> Self {
        self.path.push(path.to_owned());
        self
    }

    /// Only those whose path, without the query, ends so.
    #[must_use]
    pub fn ending(mut self, ending: &str) -> Self {
        ending.clone_into(&mut self.ending);
        self
    }

    /// Only those whose body contains this.
    #[must_use]
    pub fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    /// The first so many requests meet the fault.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.left = times;
        self
    }

    fn matches(&self, method: &Method, path: &str, body: &[u8]) -> bool {
        let plain = path.split('?').next().unwrap_or(path);
        // Writes that admission must refuse are no step of a reboot.
        let dry_run = path.contains("dryRun=All");
        self.left > 0
            && !dry_run
            && self.method == *method
            && self.path.iter().all(|part| path.contains(part.as_str()))
            && plain.ends_with(&self.ending)
            && String::from_utf8_lossy(body).contains(&self.body)
    }
}

/// Every rule that was added, and how often each matched.
#[derive(Default)]
pub(super) struct Rules {
    rules: Vec<(Rule, usize)>,
}

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) -> usize {
        self.rules.push((rule, 0));
        self.rules.len() - 1
    }

    pub(super) fn hits(&self, id: usize) -> usize {
        self.rules.get(id).map_or(0, |(_, hits)| *hits)
    }

    pub(super) fn clear(&mut self) {
        for (rule, _) in &mut self.rules {
            rule.left = 0;
        }
    }

    /// The fault of the first rule that matches; it is one request nearer to its end.
    pub(super) fn meet(&mut self, method: &Method, path: &str, body: &[u8]) -> Option<Fault> {
        let (rule, hits) = self
            .rules
            .iter_mut()
            .find(|(rule, _)| rule.matches(method, path, body))?;
        rule.left -= 1;
        *hits += 1;
        Some(rule.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_matches_so_many_requests_and_counts_them() {
        let mut rules = Rules::default();
        let rule = Rule::new(Method::PATCH, "/nodes/n1", Fault::DropBefore)
            .ending("/status")
            .body("Rebooting");
        let id = rules.add(rule.times(2));
        let mut meet = |method: Method, path: &str, body: &str| {
            rules.meet(&method, path, body.as_bytes()).is_some()
        };
        assert!(!meet(Method::GET, "/nodes/n1/status", "Rebooting"));
        assert!(!meet(Method::PATCH, "/nodes/n2/status", "Rebooting"));
        assert!(!meet(Method::PATCH, "/nodes/n1?a=/status", "Rebooting"));
        assert!(!meet(Method::PATCH, "/nodes/n1/status", "Draining"));
        assert!(!meet(
            Method::PATCH,
            "/nodes/n1/status?dryRun=All",
            "Rebooting"
        ));
        assert!(meet(Method::PATCH, "/nodes/n1/status?a=b", "Rebooting"));
        assert!(meet(Method::PATCH, "/nodes/n1/status", "Rebooting"));
        assert!(!meet(Method::PATCH, "/nodes/n1/status", "Rebooting"));
        assert_eq!(rules.hits(id), 2);
    }
}
