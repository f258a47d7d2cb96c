//! Names that more than one program must spell alike.

/// API group of every kind of ours.
pub const GROUP: &str = "slipway.dev";
/// Name of the only [`crate::RebootLedger`].
pub const LEDGER_NAME: &str = "cluster";
/// Type of the Node condition by which an agent reports what its host asks for.
pub const CONDITION_REBOOT_REQUIRED: &str = "RebootRequired";
/// Node annotation written in the same write as our cordon: [`crate::lease::CordonRecord`] as JSON.
pub const ANNOTATION_CORDONED: &str = "slipway.dev/cordoned";
/// Node annotation that every undo writes (the fence that it ends).
///
/// An undo must change the object: a write that changes nothing keeps the resourceVersion, and a
/// cordon still in flight from a sender that died would land after it (faults.md Q3).
pub const ANNOTATION_UNDONE: &str = "slipway.dev/undone";
/// Node annotation by which an agent reports its host's boot: [`crate::boot::Boot`] as text.
pub const ANNOTATION_BOOT: &str = "slipway.dev/boot";
/// Node annotation that records the labels which the operator has written, as `key=value` separated by
/// commas: what is not recorded is somebody else's.
pub const ANNOTATION_LABELS: &str = "slipway.dev/labels";
/// Node annotation with the time since when the node needs a reboot (`nodeMetadata.annotate`).
pub const ANNOTATION_REQUIRED_SINCE: &str = "slipway.dev/reboot-required-since";
/// Node annotation with the time at which the present reboot was accepted (`nodeMetadata.annotate`).
pub const ANNOTATION_IN_PROGRESS: &str = "slipway.dev/reboot-in-progress";
/// Annotations about a reboot that the operator writes.
pub const ANNOTATIONS_OF_MARKS: [&str; 2] = [ANNOTATION_REQUIRED_SINCE, ANNOTATION_IN_PROGRESS];
/// Node annotation that records which of [`PROTECTIONS`] the operator has written, as `key=true`
/// separated by commas: what is not recorded is somebody else's.
pub const ANNOTATION_PROTECTIONS: &str = "slipway.dev/annotations";
/// Keeps the Cluster Autoscaler from removing the node.
pub const ANNOTATION_SCALE_DOWN_DISABLED: &str =
    "cluster-autoscaler.kubernetes.io/scale-down-disabled";
/// Keeps Karpenter from disrupting the node of its own will.
pub const ANNOTATION_DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// Annotations of others by which the operator protects a node that is being rebooted. They are
/// people's as well: one that is there already is never changed, nor taken away.
pub const PROTECTIONS: [&str; 2] = [ANNOTATION_SCALE_DOWN_DISABLED, ANNOTATION_DO_NOT_DISRUPT];
/// The value of each of them.
pub const PROTECTED: &str = "true";
/// Key of the taint on nodes that wait (`cordon.softTaint`).
pub const TAINT_REBOOT_REQUIRED: &str = "slipway.dev/reboot-required";
/// Its effect. A taint of this key with another effect is somebody else's.
pub const TAINT_EFFECT: &str = "PreferNoSchedule";
/// Field manager of the operator's writes.
pub const MANAGER_OPERATOR: &str = "slipway-operator";
/// Field manager of the agent's writes.
pub const MANAGER_AGENT: &str = "slipway-agent";
/// Namespace of both programs when nothing else is configured.
pub const NAMESPACE: &str = "slipway-system";
/// Label that marks control-plane nodes (kubeadm's convention).
pub const LABEL_CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// Label that says which of our programs a pod is.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Label that says which product a pod belongs to.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Value of [`LABEL_NAME`] on our pods.
pub const APP_NAME: &str = "slipway";
/// Value of [`LABEL_COMPONENT`] on the operator's pods.
pub const COMPONENT_OPERATOR: &str = "operator";
/// Value of [`LABEL_COMPONENT`] on the agents' pods.
pub const COMPONENT_AGENT: &str = "agent";

/// Service account of the operator.
pub const SERVICE_ACCOUNT_OPERATOR: &str = "slipway-operator";
/// Service account of the agents.
pub const SERVICE_ACCOUNT_AGENT: &str = "slipway-agent";
/// Reason of the Node condition when nothing asks for a reboot.
pub const REASON_NOT_REQUIRED: &str = "NoRebootRequired";
/// Reason of the Node condition when a check failed: never the same as "not required".
pub const REASON_CHECK_FAILED: &str = "CheckFailed";
