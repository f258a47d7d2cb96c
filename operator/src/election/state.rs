//! What to do about the election's Lease: pure, given what was read and the time since boot.
//!
//! Expiry is judged by the change of the record as seen here, timed on this machine's own clock
//! since boot: no two clocks are compared, so only their rate matters (faults.md G7).

use std::time::Duration;

/// How long a record that does not change is respected. Longer than [`RENEW_DEADLINE`], so that a
/// holder has stopped before anybody may take over.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long after its last good renewal a holder may act.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two looks.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// Most that a record may ask for itself: a typing mistake must not stop the operator for a day.
const LEASE_DURATION_MAX: Duration = Duration::from_mins(1);

const _: () = assert!(
    RENEW_DEADLINE.as_secs() + RETRY_PERIOD.as_secs() < LEASE_DURATION.as_secs(),
    "a holder could act after it was replaced"
);

/// The election's Lease as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `spec.holderIdentity`; empty when it was released.
    pub holder: String,
    /// `spec.renewTime` as text: no more than a mark that changes.
    pub renewed: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `spec.leaseDurationSeconds`.
    pub duration: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the Lease.
    Create,
    /// Replace it, with us as a new holder.
    Take,
    /// Replace it, with us as the present holder.
    Renew,
    /// Look again later.
    Wait,
    /// Somebody else holds what we held.
    Lost,
}

/// A write of ours: its renewTime, by which it is known again, and when it was sent.
#[derive(Clone, Debug)]
struct Write {
    mark: String,
    sent: Duration,
}

/// One candidate.
#[derive(Debug)]
pub struct Elector {
    identity: String,
    seen: Option<(Record, Duration)>,
    pending: Option<Write>,
    held: Option<Write>,
}

impl Elector {
    /// A candidate that has seen nothing yet.
    pub fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
            pending: None,
            held: None,
        }
    }

    /// Our name.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Decides from what was just read (`None`: there is no such Lease).
    pub fn step(&mut self, record: Option<&Record>, now: Duration) -> Step {
        let Some(record) = record else {
            return Step::Create;
        };
        if let Some(write) = self.our_write(record) {
            // A write whose answer was lost has landed after all.
            self.held = Some(write);
            self.pending = None;
            return Step::Renew;
        }
        // Our own name under another mark is a former process, or a replica with the same name:
        // it is waited for like any other.
        if self.held.is_some() {
            self.held = None;
            return Step::Lost;
        }
        if record.holder.is_empty() {
            return Step::Take;
        }
        match &self.seen {
            Some((seen, since)) if seen == record => {
                let duration = record.duration.clamp(LEASE_DURATION, LEASE_DURATION_MAX);
                if now.saturating_sub(*since) >= duration {
                    Step::Take
                } else {
                    Step::Wait
                }
            }
            _ => {
                self.seen = Some((record.clone(), now));
                Step::Wait
            }
        }
    }

    fn our_write(&self, record: &Record) -> Option<Write> {
        let ours = |write: &&Write| write.mark == record.renewed;
        if record.holder != self.identity {
            return None;
        }
        self.pending.iter().chain(&self.held).find(ours).cloned()
    }

    /// A write with this renewTime is about to be sent.
    pub fn sending(&mut self, mark: String, now: Duration) {
        self.pending = Some(Write { mark, sent: now });
    }

    /// The write has landed: we hold it, counted from when it was sent.
    pub fn landed(&mut self) {
        if let Some(write) = self.pending.take() {
            self.held = Some(write);
        }
    }

    /// The write was refused, and is known not to have landed.
    pub fn refused(&mut self) {
        self.pending = None;
    }

    /// Until when we may act; `None` while we do not hold it.
    pub fn valid_until(&self) -> Option<Duration> {
        self.held
            .as_ref()
            .map(|write| write.sent.saturating_add(RENEW_DEADLINE))
    }

    /// True when we held it and its time ran out before a renewal landed.
    pub fn has_expired(&self, now: Duration) -> bool {
        self.valid_until().is_some_and(|until| now >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn record(holder: &str, renewed: &str, version: &str) -> Record {
        Record {
            holder: holder.into(),
            renewed: renewed.into(),
            version: version.into(),
            duration: LEASE_DURATION,
        }
    }

    fn leader() -> Elector {
        let mut elector = Elector::new("me".into());
        assert_eq!(elector.step(None, at(0)), Step::Create);
        elector.sending("t0".into(), at(0));
        elector.landed();
        elector
    }

    #[test]
    fn a_missing_lease_is_made_and_a_released_one_is_taken_at_once() {
        assert_eq!(Elector::new("me".into()).step(None, at(0)), Step::Create);
        let mut elector = Elector::new("me".into());
        assert_eq!(elector.step(Some(&record("", "t", "1")), at(0)), Step::Take);
    }

    #[test]
    fn another_holder_is_respected_until_its_record_stood_still_for_the_whole_duration() {
        let mut elector = Elector::new("me".into());
        let other = record("other", "t1", "1");
        assert_eq!(elector.step(Some(&other), at(100)), Step::Wait);
        assert_eq!(elector.step(Some(&other), at(114)), Step::Wait);
        let renewed = record("other", "t2", "2");
        assert_eq!(elector.step(Some(&renewed), at(115)), Step::Wait);
        assert_eq!(elector.step(Some(&renewed), at(129)), Step::Wait);
        assert_eq!(elector.step(Some(&renewed), at(130)), Step::Take);
    }

    #[test]
    fn a_record_may_not_ask_for_more_than_a_minute() {
        let mut elector = Elector::new("me".into());
        let mut other = record("other", "t1", "1");
        other.duration = Duration::from_secs(1_000_000);
        assert_eq!(elector.step(Some(&other), at(0)), Step::Wait);
        assert_eq!(elector.step(Some(&other), at(60)), Step::Take);
    }

    #[test]
    fn a_holder_renews_its_own_record() {
        let mut elector = leader();
        assert_eq!(
            elector.step(Some(&record("me", "t0", "1")), at(2)),
            Step::Renew
        );
        assert_eq!(elector.valid_until(), Some(at(10)));
        elector.sending("t1".into(), at(2));
        elector.landed();
        assert_eq!(elector.valid_until(), Some(at(12)));
    }

    #[test]
    fn a_renewal_counts_from_when_it_was_sent_and_expires_without_one() {
        let mut elector = leader();
        elector.sending("t1".into(), at(5));
        assert!(!elector.has_expired(at(9)));
        assert!(elector.has_expired(at(10)));
        elector.landed();
        assert!(!elector.has_expired(at(14)));
    }

    #[test]
    fn f32_a_write_whose_answer_was_lost_is_known_again_by_its_mark() {
        let mut elector = leader();
        elector.sending("t1".into(), at(4));
        // No answer; the next look shows that it landed.
        assert_eq!(
            elector.step(Some(&record("me", "t1", "2")), at(6)),
            Step::Renew
        );
        assert_eq!(elector.valid_until(), Some(at(14)));
    }

    #[test]
    fn leadership_is_lost_when_the_record_is_somebody_elses() {
        let mut elector = leader();
        assert_eq!(
            elector.step(Some(&record("other", "t9", "5")), at(3)),
            Step::Lost
        );
        assert_eq!(elector.valid_until(), None);
    }

    #[test]
    fn a_replica_of_the_same_name_is_somebody_else() {
        let mut elector = leader();
        assert_eq!(
            elector.step(Some(&record("me", "t9", "5")), at(3)),
            Step::Lost
        );
        let mut restarted = Elector::new("me".into());
        assert_eq!(
            restarted.step(Some(&record("me", "t9", "5")), at(3)),
            Step::Wait
        );
    }

    #[test]
    fn a_refused_write_is_forgotten() {
        let mut elector = Elector::new("me".into());
        elector.sending("t1".into(), at(0));
        elector.refused();
        elector.landed();
        assert_eq!(elector.valid_until(), None);
    }

    #[test]
    fn a_lease_that_was_deleted_under_its_holder_is_made_again() {
        let mut elector = leader();
        assert_eq!(elector.step(None, at(3)), Step::Create);
        assert_eq!(elector.valid_until(), Some(at(10)));
    }
}
