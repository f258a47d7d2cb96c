//! A lease as it begins, whoever makes it: the operator, or a person's verb on a node without one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

use super::{PolicyReference, RebootLease, RebootLeaseSpec};

impl RebootLease {
    /// A lease of a Node by name and UID, with no key turned. The Node owns it: it goes when the Node
    /// goes.
    pub fn begin(
        node: &str,
        node_uid: &str,
        policy: Option<PolicyReference>,
        requested_at: Timestamp,
    ) -> Self {
        let mut lease = Self::new(
            node,
            RebootLeaseSpec {
                node_uid: node_uid.to_owned(),
                policy,
                requested_at: Time(requested_at),
                grant: None,
                clear: None,
                revoke: None,
                approved: None,
                request: None,
                hold: None,
                release: None,
            },
        );
        lease.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: node.to_owned(),
            uid: node_uid.to_owned(),
            ..OwnerReference::default()
        }]);
        lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_begins_without_a_grant_and_is_owned_by_its_node() {
        let lease = RebootLease::begin("n", "u", None, "2026-11-24T11:00:00Z".parse().unwrap());
        assert!(lease.spec.grant.is_none() && lease.status.is_none());
        let owners = lease.metadata.owner_references.unwrap();
        assert_eq!(
            (owners[0].kind.as_str(), owners[0].uid.as_str()),
            ("Node", "u")
        );
        assert_eq!(owners[0].api_version, "v1");
    }
}
