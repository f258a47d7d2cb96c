//! What a machine says when it is asked how it could be rebooted.

use slipway_api::policy::RebootMethod;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Nothing depends on it in this pass.
    NotAsked,
    /// It could be rebooted now.
    Ready {
        /// In this way; never `Auto`.
        method: RebootMethod,
        /// Who would hold the reboot up for a moment, such as a kubelet that ends its pods.
        delayed_by: Vec<String>,
    },
    /// It could, but for locks that block a shutdown.
    Inhibited {
        /// In this way; never `Auto`.
        method: RebootMethod,
        /// Who holds them, one entry each.
        by: Vec<String>,
    },
    /// It gives no answer.
    Unanswered {
        /// Why.
        reason: String,
    },
    /// It cannot be rebooted in the way that is wanted, and no waiting changes that.
    Impossible {
        /// Why.
        reason: String,
    },
}

impl Offer {
    /// The machine could be rebooted now in this way, and nobody would hold it up.
    pub fn by(method: RebootMethod) -> Self {
        Self::Ready {
            method,
            delayed_by: Vec::new(),
        }
    }

    /// The way, where there is one.
    pub fn method(&self) -> Option<&RebootMethod> {
        match self {
            Self::Ready { method, .. } | Self::Inhibited { method, .. } => Some(method),
            Self::NotAsked | Self::Unanswered { .. } | Self::Impossible { .. } => None,
        }
    }

    /// Why there is no way to reboot, if there is none.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Unanswered { reason } | Self::Impossible { reason } => Some(reason.clone()),
            Self::NotAsked | Self::Ready { .. } | Self::Inhibited { .. } => None,
        }
    }

    /// True when nothing keeps the machine from being rebooted.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// True when the way needs no bus: whether the machine is going down may then stay unknown.
    pub fn is_blind(&self) -> bool {
        matches!(self, Self::Ready { method, .. } if *method != RebootMethod::Logind)
    }
}
