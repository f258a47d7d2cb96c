//! Simulated nodes: real pods, real scheduling, real evictions, our real programs with their real
//! tokens, on machines that are directories and processes.
//!
//! Owns machines that reboot in about a second, and kubelets that speak for them. The control
//! plane is a real one ([`crate::control_plane`]), so admission, RBAC, disruption budgets and the
//! node lifecycle are what they are in production. Never runs anybody else's containers: those
//! pods are only said to run.
//! Called by tests and the demo, through [`SimulatedCluster`].

mod cluster;
mod directory;
mod faults;
mod host;
mod kubelet;
mod launch;
mod logind;
mod machine;
mod node_status;
mod observe;
mod options;
pub(crate) mod pods;
pub(crate) mod probe;
mod program;
mod retry;

pub use cluster::SimulatedCluster;
pub use directory::{HostDirectory, RebootBehaviour};
pub use host::SimulatedHost;
pub(crate) use observe::is_pod_ready;

pub use machine::{Boot, Power};
pub use options::SimulatedOptions;
pub use retry::Steady;
