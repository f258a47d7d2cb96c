//! Breadth first through every state, and backwards from the goal.
//!
//! stateright's own checker knows `always` and `sometimes`; its `eventually` misses cycles. What is
//! wanted here is AG EF: from *every* state that can be reached, the goal can still be reached, by
//! steps that come of themselves. So the steps that are progress are kept as edges, and walked
//! backwards from the states in which all is done; what they do not reach is stuck.
//!
//! States are known by their 64-bit fingerprints, as in stateright: for ten million states the chance
//! that any two are taken for one is about three in a million.

use std::collections::BTreeMap;
#[expect(
    clippy::disallowed_types,
    reason = "asked by key only: its order reaches nothing"
)]
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use ahash::RandomState;
use stateright::Model;

/// A goal that some state must reach, by name.
pub type Goal<S> = (&'static str, fn(&S) -> bool);

/// What a model must say of its states and steps beyond [`Model`].
pub trait Protocol: Model {
    /// The invariant that a state breaks, if it breaks one.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;
    /// What must be reached, by name.
    fn goals(&self) -> Vec<Goal<Self::State>>;
    /// All is done.
    fn is_done(&self, state: &Self::State) -> bool;
    /// Nothing of ours is left behind: must hold wherever nothing happens any more.
    fn is_clean(&self, state: &Self::State) -> bool;
    /// The step comes of itself if one waits; false for faults and for what old caches advise.
    fn is_progress(&self, state: &Self::State, step: &Self::Action) -> bool;
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Findings<S, A> {
    /// How many states there are, up to symmetry.
    pub states: usize,
    /// How many steps between them.
    pub steps: usize,
    /// The longest way from the start to any state.
    pub depth: usize,
    /// The first invariant that broke, and the shortest way there. Nothing was explored after it.
    pub broken: Option<(&'static str, Trace<S, A>)>,
    /// From how many states the goal cannot be reached any more.
    pub stuck: usize,
    /// The shortest way to one of them.
    pub stuck_at: Option<Trace<S, A>>,
    /// The shortest way to a state where nothing happens any more and something is left behind.
    pub orphan: Option<Trace<S, A>>,
    /// Goals that were never reached.
    pub missed: Vec<&'static str>,
    /// How often each kind of step was taken.
    pub kinds: BTreeMap<String, usize>,
    /// The state limit was reached: nothing is proved.
    pub is_cut: bool,
}

/// A way through the states.
pub type Trace<S, A> = (Vec<A>, S);

impl<S, A> Findings<S, A> {
    /// What went wrong, by name; `None` when everything holds.
    pub fn verdict(&self) -> Option<&'static str> {
        match &self.broken {
            Some((name, _)) => Some(name),
            None if self.is_cut => Some("not exhausted"),
            None if self.orphan.is_some() => Some("S9 no orphan where nothing happens any more"),
            None if self.stuck > 0 => Some("L3 the goal stays in reach"),
            None if !self.missed.is_empty() => Some("every goal is reached"),
            None => None,
        }
    }
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "asked by key only: its order reaches nothing"
)]
type Places = HashMap<u64, u32, BuildHasherDefault<Ready>>;

/// The same in every run: a trace is walked again by it.
fn fingerprint(state: &impl Hash) -> u64 {
    RandomState::with_seeds(1, 2, 3, 4).hash_one(state)
}

/// Explores every state, at most so many.
pub fn explore<P>(protocol: &P, most: usize, kind: impl Fn(&P::Action) -> String) -> Found<P>
where
    P: Protocol,
    P::State: Clone + Hash,
    P::Action: Copy,
{
    let mut search = Search::new(protocol, most);
    search.run(kind);
    search.finish()
}

/// The findings about a protocol.
pub type Found<P> = Findings<<P as Model>::State, <P as Model>::Action>;

struct Search<'a, P: Protocol> {
    protocol: &'a P,
    most: usize,
    goals: Vec<Goal<P::State>>,
    places: Places,
    /// Fingerprint and first predecessor of every state.
    origins: Vec<(u64, u32)>,
    done: Vec<u32>,
    /// (from, to) of every step that is progress.
    progress: Vec<(u32, u32)>,
    orphan: Option<u32>,
    broken: Option<(&'static str, u32)>,
    kinds: BTreeMap<String, usize>,
    steps: usize,
    depth: usize,
    is_cut: bool,
}

impl<'a, P> Search<'a, P>
where
    P: Protocol,
    P::State: Clone + Hash,
    P::Action: Copy,
{
    fn new(protocol: &'a P, most: usize) -> Self {
        Self {
            protocol,
            most,
            goals: protocol.goals(),
            places: Places::default(),
            origins: Vec::new(),
            done: Vec::new(),
            progress: Vec::new(),
            orphan: None,
            broken: None,
            kinds: BTreeMap::new(),
            steps: 0,
            depth: 0,
            is_cut: false,
        }
    }

    /// Notes a state; the place, and whether it is new.
    fn note(&mut self, state: &P::State, from: u32) -> (u32, bool) {
        let print = fingerprint(state);
        let next = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        let place = *self.places.entry(print).or_insert(next);
        if place != next {
            return (place, false);
        }
        self.origins.push((print, from));
        self.goals.retain(|(_, is_reached)| !is_reached(state));
        if self.protocol.is_done(state) {
            self.done.push(place);
        }
        if self.broken.is_none() {
            self.broken = self.protocol.broken(state).map(|name| (name, place));
        }
        (place, true)
    }

    fn run(&mut self, kind: impl Fn(&P::Action) -> String) {
        let mut frontier: Vec<(u32, P::State)> = Vec::new();
        for state in self.protocol.init_states() {
            let (place, _) = self.note(&state, u32::MAX);
            frontier.push((place, state));
        }
        let mut steps = Vec::new();
        while !frontier.is_empty() && self.broken.is_none() && !self.is_cut {
            let mut next = Vec::new();
            for (place, state) in frontier {
                self.expand((place, &state), &mut steps, &mut next, &kind);
                if self.broken.is_some() {
                    break;
                }
            }
            self.depth += 1;
            self.is_cut = self.origins.len() > self.most;
            frontier = next;
        }
    }

    fn expand(
        &mut self,
        (place, state): (u32, &P::State),
        steps: &mut Vec<P::Action>,
        next: &mut Vec<(u32, P::State)>,
        kind: impl Fn(&P::Action) -> String,
    ) {
        self.protocol.actions(state, steps);
        let mut goes_on = false;
        for step in steps.drain(..) {
            let Some(after) = self.protocol.next_state(state, step) else {
                continue;
            };
            self.steps += 1;
            let (to, is_new) = self.note(&after, place);
            if self.protocol.is_progress(state, &step) {
                self.progress.push((place, to));
                goes_on = true;
            }
            if is_new {
                *self.kinds.entry(kind(&step)).or_default() += 1;
                next.push((to, after));
            }
        }
        if !goes_on && self.orphan.is_none() && !self.protocol.is_clean(state) {
            self.orphan = Some(place);
        }
    }

    fn finish(mut self) -> Found<P> {
        let progress = std::mem::take(&mut self.progress);
        let is_whole = self.broken.is_none() && !self.is_cut;
        let stuck = if is_whole {
            self.stuck(progress)
        } else {
            Vec::new()
        };
        Findings {
            states: self.origins.len(),
            steps: self.steps,
            depth: self.depth,
            broken: self.broken.map(|(name, place)| (name, self.trace(place))),
            stuck: stuck.len(),
            stuck_at: stuck.first().map(|place| self.trace(*place)),
            orphan: self
                .orphan
                .filter(|_| self.broken.is_none())
                .map(|place| self.trace(place)),
            missed: self.goals.iter().map(|(name, _)| *name).collect(),
            kinds: self.kinds,
            is_cut: self.is_cut,
        }
    }

    /// Places from which no progress leads to the goal.
    fn stuck(&self, mut sorted: Vec<(u32, u32)>) -> Vec<u32> {
        let index = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
        sorted.sort_unstable_by_key(|(_, to)| *to);
        let mut is_good = vec![false; self.origins.len()];
        let mut open = self.done.clone();
        while let Some(place) = open.pop() {
            match is_good.get_mut(index(place)) {
                Some(good) if !*good => *good = true,
                _ => continue,
            }
            let begin = sorted.partition_point(|(_, to)| *to < place);
            let into = sorted.iter().skip(begin).take_while(|(_, to)| *to == place);
            open.extend(into.map(|(from, _)| *from));
        }
        let bad = (0_u32..).zip(&is_good).filter(|(_, good)| !**good);
        bad.map(|(place, _)| place).collect()
    }

    /// The shortest way to a place, walked again by fingerprints.
    fn trace(&self, place: u32) -> Trace<P::State, P::Action> {
        let origin = |place: u32| {
            self.origins
                .get(usize::try_from(place).unwrap_or(usize::MAX))
        };
        let mut prints = Vec::new();
        let mut at = place;
        while let Some((print, from)) = origin(at) {
            prints.push(*print);
            at = *from;
        }
        let mut prints = prints.into_iter().rev();
        let first = prints.next();
        let mut starts = self.protocol.init_states();
        let found = starts
            .iter()
            .position(|state| Some(fingerprint(state)) == first);
        let mut state = starts.swap_remove(found.unwrap_or(0));
        let mut way = Vec::new();
        for print in prints {
            let mut steps = Vec::new();
            self.protocol.actions(&state, &mut steps);
            let next = steps.into_iter().find_map(|step| {
                let after = self.protocol.next_state(&state, step)?;
                (fingerprint(&after) == print).then_some((step, after))
            });
            if let Some((step, after)) = next {
                way.push(step);
                state = after;
            }
        }
        (way, state)
    }
}
