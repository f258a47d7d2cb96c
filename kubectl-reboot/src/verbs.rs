//! One file per verb.

pub(crate) mod explain;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod status;
