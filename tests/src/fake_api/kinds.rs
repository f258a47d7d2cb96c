//! The kinds that the server knows, and how the real one treats each.
//!
//! Owns the table only. A kind that is not in it is answered 404, as a real server does.

/// One kind.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a table of independent yes-or-no properties of the real server's kinds"
)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Name in the path.
    pub plural: &'static str,
    /// `kind` of an object.
    pub kind: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether `status` is a subresource of its own.
    pub status: bool,
    /// Whether it is one of our `CustomResourceDefinition`s.
    pub custom: bool,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// Whether an update may come without a resourceVersion.
    pub unconditional: bool,
    /// Whether a PUT of an object that does not exist makes it.
    pub create_on_update: bool,
}

impl Kind {
    /// `plural` or `plural.group`, as the answers name it.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `Kind` or `Kind.group`, as a validation error names it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// `apiVersion` of an object.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

const PLAIN: Kind = Kind {
    group: "",
    version: "v1",
    plural: "",
    kind: "",
    namespaced: true,
    status: false,
    custom: false,
    generation: false,
    unconditional: true,
    create_on_update: false,
};

const CUSTOM: Kind = Kind {
    group: "slipway.dev",
    version: "v1alpha1",
    namespaced: false,
    status: true,
    custom: true,
    generation: true,
    unconditional: false,
    ..PLAIN
};

const fn custom(plural: &'static str, kind: &'static str) -> Kind {
    Kind {
        plural,
        kind,
        ..CUSTOM
    }
}

const fn plain(group: &'static str, plural: &'static str, kind: &'static str) -> Kind {
    Kind {
        group,
        plural,
        kind,
        ..PLAIN
    }
}

/// Every kind.
pub static KINDS: &[Kind] = &[
    Kind {
        namespaced: false,
        status: true,
        ..plain("", "nodes", "Node")
    },
    Kind {
        status: true,
        generation: true,
        ..plain("", "pods", "Pod")
    },
    Kind {
        status: true,
        generation: true,
        unconditional: false,
        ..plain("policy", "poddisruptionbudgets", "PodDisruptionBudget")
    },
    Kind {
        unconditional: false,
        create_on_update: true,
        ..plain("coordination.k8s.io", "leases", "Lease")
    },
    custom("rebootleases", "RebootLease"),
    custom("rebootledgers", "RebootLedger"),
    custom("rebootpolicies", "RebootPolicy"),
    Kind {
        create_on_update: true,
        ..plain("", "events", "Event")
    },
    Kind {
        create_on_update: true,
        ..plain("events.k8s.io", "events", "Event")
    },
    Kind {
        namespaced: false,
        status: true,
        ..plain("storage.k8s.io", "volumeattachments", "VolumeAttachment")
    },
    plain("", "configmaps", "ConfigMap"),
    plain("", "secrets", "Secret"),
    plain("", "serviceaccounts", "ServiceAccount"),
    Kind {
        namespaced: false,
        status: true,
        ..plain("", "namespaces", "Namespace")
    },
    Kind {
        status: true,
        generation: true,
        ..plain("apps", "daemonsets", "DaemonSet")
    },
    Kind {
        status: true,
        generation: true,
        ..plain("apps", "replicasets", "ReplicaSet")
    },
    Kind {
        status: true,
        generation: true,
        ..plain("apps", "statefulsets", "StatefulSet")
    },
    Kind {
        status: true,
        generation: true,
        ..plain("", "replicationcontrollers", "ReplicationController")
    },
    Kind {
        namespaced: false,
        status: true,
        ..plain("storage.k8s.io", "volumeattachments", "VolumeAttachment")
    },
    Kind {
        namespaced: false,
        status: true,
        generation: true,
        ..plain(
            "admissionregistration.k8s.io",
            "validatingadmissionpolicies",
            "ValidatingAdmissionPolicy",
        )
    },
    Kind {
        namespaced: false,
        generation: true,
        ..plain(
            "admissionregistration.k8s.io",
            "validatingadmissionpolicybindings",
            "ValidatingAdmissionPolicyBinding",
        )
    },
    Kind {
        namespaced: false,
        status: true,
        generation: true,
        ..plain(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "CustomResourceDefinition",
        )
    },
];

/// The kind behind a path.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}
