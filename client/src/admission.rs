//! Proof that an admission policy is in force: a write that it must refuse, as a dry run.
//!
//! That a policy and its binding can be read says little: either may have been changed, or not yet
//! be obeyed by the API server that answers (faults.md F80). What it refuses is refused.

use crate::call::{CallError, ErrorClass};
use crate::telemetry::chain;

/// What an API server made of a write that a policy has to refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The policy refused it: it is in force.
    Refused,
    /// Nobody refused it.
    LetThrough,
    /// Somebody else refused it before the policy was asked, in these words: nothing is proved.
    Unproved(String),
}

impl Proof {
    /// Why the policy counts as not in force; `None` when it is.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Refused => None,
            Self::LetThrough => Some("it lets through what it must refuse".to_owned()),
            Self::Unproved(words) => Some(format!("it was not asked: {words}")),
        }
    }
}

/// Reads the answer to such a write.
///
/// # Errors
/// The call's own error, where it says nothing about the policy: no answer, a conflict, an object
/// or a kind that is missing.
pub fn proof(policy: &str, answer: Result<(), CallError>) -> Result<Proof, CallError> {
    let Err(error) = answer else {
        return Ok(Proof::LetThrough);
    };
    let by = format!("ValidatingAdmissionPolicy '{policy}' ");
    if error
        .status()
        .is_some_and(|status| status.message.contains(&by))
    {
        return Ok(Proof::Refused);
    }
    match error.class() {
        ErrorClass::Denied | ErrorClass::Invalid => Ok(Proof::Unproved(chain(&error))),
        ErrorClass::Transient
        | ErrorClass::Conflict
        | ErrorClass::Throttled
        | ErrorClass::NotFound
        | ErrorClass::Bug => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answer(code: u16, message: &str) -> Result<(), CallError> {
        let status = Status::failure(message, "").with_code(code);
        Err(CallError::api("probe", kube::Error::Api(status.boxed())))
    }

    #[test]
    fn f80_only_the_policys_own_refusal_proves_it() {
        let own = "nodes \"n\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied \
                   request: no";
        assert_eq!(proof("p", answer(403, own)).unwrap(), Proof::Refused);
        assert_eq!(proof("p", answer(422, own)).unwrap(), Proof::Refused);
        assert_eq!(proof("p", Ok(())).unwrap(), Proof::LetThrough);
        for (code, words) in [
            (403, "User \"a\" cannot patch resource \"nodes\""),
            (
                403,
                "ValidatingAdmissionPolicy 'p2' with binding 'p2' denied request: no",
            ),
            (422, "spec.x: Invalid value"),
        ] {
            let found = proof("p", answer(code, words)).unwrap();
            assert!(found.missing().unwrap().contains(words), "{words}");
        }
        for code in [404, 409, 429, 500, 503] {
            assert!(proof("p", answer(code, "x")).is_err(), "{code}");
        }
        assert_eq!(Proof::Refused.missing(), None);
    }
}
