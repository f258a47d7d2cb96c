//! Chaos: our own programs are killed at random moments, always the same ones for one seed.

use std::time::Duration;

use tokio::time::Instant;

/// Most kills in one run: after that the rollout must come to its end undisturbed.
const KILLS: u32 = 12;
/// The shortest and the longest pause between two kills.
const PAUSE: (u64, u64) = (500, 8000);

/// Decides when to kill, and whom.
#[derive(Debug)]
pub struct Chaos {
    random: SplitMix,
    left: u32,
    next: Instant,
}

impl Chaos {
    /// Begins now.
    pub fn new(seed: u64, now: Instant) -> Self {
        let mut chaos = Self {
            random: SplitMix(seed),
            left: KILLS,
            next: now,
        };
        chaos.schedule(now);
        chaos
    }

    /// When the next kill is due; `None` when all is done.
    pub fn next(&self) -> Option<Instant> {
        (self.left > 0).then_some(self.next)
    }

    /// How many kills have been made.
    pub fn done(&self) -> u32 {
        KILLS - self.left
    }

    /// Chooses a victim among a number of candidates, and the time of the next kill.
    pub fn choose(&mut self, candidates: usize, now: Instant) -> Option<usize> {
        self.schedule(now);
        let candidates = u64::try_from(candidates).ok().filter(|count| *count > 0)?;
        usize::try_from(self.random.below(candidates)).ok()
    }

    /// The victim was alive: this kill counts.
    pub fn killed(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    fn schedule(&mut self, now: Instant) {
        let (shortest, longest) = PAUSE;
        let pause = shortest + self.random.below(longest - shortest);
        self.next = now + Duration::from_millis(pause);
    }
}

/// The generator splitmix64: small, and the same everywhere.
#[derive(Debug, Clone)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound; the bias is far below what a demo could show.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_numbers_of_its_reference() {
        let mut random = SplitMix(1_234_567);
        let numbers = [random.next(), random.next(), random.next()];
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[tokio::test]
    async fn one_seed_gives_the_same_kills_and_they_end() {
        let now = Instant::now();
        let run = |seed| {
            let mut chaos = Chaos::new(seed, now);
            let mut kills = Vec::new();
            while let Some(at) = chaos.next() {
                kills.push((at.duration_since(now), chaos.choose(7, at)));
                chaos.killed();
            }
            kills
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert_eq!(run(7).len(), usize::try_from(KILLS).unwrap());
    }
}
