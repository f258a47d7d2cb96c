//! Who goes first.

use crate::resting::Candidate;

/// Workers before control-plane nodes, the longest waiting first, names as a stable tie-break.
pub(crate) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| {
        let key = |candidate: &Candidate| {
            (
                candidate.request.control_plane,
                candidate.requested_at.as_second(),
            )
        };
        key(a)
            .cmp(&key(b))
            .then_with(|| a.request.node.cmp(&b.request.node))
    });
}
