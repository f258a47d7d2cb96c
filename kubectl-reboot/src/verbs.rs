//! One file per verb.

pub(crate) mod approve;
pub(crate) mod explain;
pub(crate) mod hold;
mod lease;
pub(crate) mod now;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod release;
pub(crate) mod status;
