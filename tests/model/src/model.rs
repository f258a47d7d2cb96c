//! The protocol as a [`stateright::Model`]: every step that anybody can take in every state.

use stateright::{Model, Property};

use crate::agent::CallEnds;
use crate::canon;
use crate::explore::{Goal, Protocol};
use crate::operator::{Job, Stroke};
use crate::planning;
use crate::property;
use crate::rules::{Rule, Rules};
use crate::state::{Agent, Faults, Journal, Lease, Node, NodeId, Object, Operator, State};
use crate::world::Event;

/// One configuration of `N` nodes.
#[derive(Clone, Copy, Debug)]
pub struct Configuration<const N: usize> {
    /// The budget: so many nodes may be down at once.
    pub allowed: usize,
    /// One operator or two.
    pub operators: u8,
    /// Faults that may happen.
    pub faults: Faults,
    /// A minute may pass anywhere: keys grow old, calls come too late.
    pub has_time: bool,
    /// The rules that hold.
    pub rules: Rules,
}

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// An operator sets out on a job.
    SetsOut(u8, Job, NodeId),
    /// An operator makes its next call.
    Operator(u8),
    /// An operator stops for good, crashes, or loses an answer.
    Forgets(u8),
    /// Any operator makes a write that is one step.
    Strikes(Stroke, NodeId),
    /// A policy calls a reboot off.
    Revoke(NodeId),
    /// An agent makes its next call.
    Agent(NodeId),
    /// An agent calls the reboot.
    Calls(NodeId, CallEnds),
    /// An agent's process dies; true with its write under way.
    Dies(NodeId, bool),
    /// What a dead agent had sent lands, or is refused.
    Lands(NodeId),
    /// Something happens to a node.
    Happens(Event, NodeId),
    /// The ledger's brake is set or released.
    Brake(bool),
    /// A minute passes.
    Minute,
}

impl Step {
    /// Every kind of step.
    pub fn kinds() -> std::collections::BTreeSet<String> {
        let id = NodeId(0);
        let ends = [CallEnds::Accepted, CallEnds::Refused, CallEnds::NeverMade];
        let others = [
            Self::Operator(0),
            Self::Forgets(0),
            Self::Revoke(id),
            Self::Agent(id),
            Self::Dies(id, false),
            Self::Dies(id, true),
            Self::Lands(id),
            Self::Brake(true),
            Self::Brake(false),
            Self::Minute,
        ];
        let steps = Job::ALL.map(|job| Self::SetsOut(0, job, id)).into_iter();
        let steps = steps.chain(Stroke::ALL.map(|stroke| Self::Strikes(stroke, id)));
        let steps = steps.chain(ends.map(|ends| Self::Calls(id, ends)));
        let steps = steps.chain(Event::ALL.map(|event| Self::Happens(event, id)));
        steps.chain(others).map(|step| step.kind()).collect()
    }

    /// What kind of step it is, for the account of what was covered.
    pub fn kind(&self) -> String {
        match self {
            Self::SetsOut(_, job, _) => format!("an operator sets out to {job:?}"),
            Self::Operator(_) => "an operator goes on".to_owned(),
            Self::Forgets(_) => "an operator stops".to_owned(),
            Self::Strikes(stroke, _) => format!("an operator strikes: {stroke:?}"),
            Self::Revoke(_) => "a policy calls off".to_owned(),
            Self::Agent(_) => "an agent goes on".to_owned(),
            Self::Calls(_, ends) => format!("a reboot call: {ends:?}"),
            Self::Dies(_, false) => "an agent dies".to_owned(),
            Self::Dies(_, true) => "an agent dies with a write under way".to_owned(),
            Self::Lands(_) => "a dead agent's write lands".to_owned(),
            Self::Happens(event, _) => format!("{event:?}"),
            Self::Brake(is_set) => format!("the brake: {is_set}"),
            Self::Minute => "a minute passes".to_owned(),
        }
    }
}

impl<const N: usize> Configuration<N> {
    fn applied(&self, last: &State<N>, step: Step) -> Option<State<N>> {
        let mut state = *last;
        let rules = self.rules;
        let is_taken = match step {
            Step::SetsOut(place, job, id) => {
                let held = state.sets_out(job, id, self.allowed, rules)?;
                *state.operators.get_mut(usize::from(place))? = held;
                true
            }
            Step::Operator(place) => state.operator_step(usize::from(place), self.allowed, rules),
            Step::Forgets(place) => {
                *state.operators.get_mut(usize::from(place))? = Operator::Idle;
                true
            }
            Step::Strikes(stroke, id) => state.strikes(stroke, id, rules),
            Step::Revoke(id) => self.revokes(&mut state, id),
            Step::Agent(id) => state.agent_step(id, rules),
            Step::Calls(id, ends) => self.calls(&mut state, id, ends),
            Step::Dies(id, is_sent) => {
                let dies = state.faults.crashes > 0 && state.agent_dies(id, is_sent);
                state.faults.crashes = state.faults.crashes.saturating_sub(1);
                dies
            }
            Step::Lands(id) => state.flight_lands(id, rules),
            Step::Happens(event, id) => state.happens(event, id),
            Step::Brake(is_set) => state.brake(is_set),
            Step::Minute => self.has_time && state.minute_passes(),
        };
        let next = is_taken.then(|| canon::canonical(state, rules))?;
        (next != *last).then_some(next)
    }

    fn revokes(&self, state: &mut State<N>, id: NodeId) -> bool {
        let is_left = state.faults.revokes > 0;
        state.faults.revokes = state.faults.revokes.saturating_sub(1);
        is_left && state.strikes(Stroke::Revoke, id, self.rules)
    }

    fn calls(&self, state: &mut State<N>, id: NodeId, ends: CallEnds) -> bool {
        let left = match ends {
            CallEnds::Accepted => return state.agent_calls(id, ends, self.rules),
            CallEnds::Refused => &mut state.faults.refusals,
            CallEnds::NeverMade => &mut state.faults.crashes,
        };
        let is_left = *left > 0;
        *left = left.saturating_sub(1);
        is_left && state.agent_calls(id, ends, self.rules)
    }

    fn of_operators(&self, state: &State<N>, steps: &mut Vec<Step>) {
        let places = (0_u8..).zip(state.operators).take(self.operators.into());
        for (place, _) in places.clone().filter(|(_, held)| *held != Operator::Idle) {
            steps.extend([Step::Operator(place), Step::Forgets(place)]);
        }
        // Idle operators are alike.
        if let Some((place, _)) = places.clone().find(|(_, held)| *held == Operator::Idle) {
            for id in State::<N>::ids() {
                steps.extend(Job::ALL.map(|job| Step::SetsOut(place, job, id)));
            }
        }
    }

    fn of_node(&self, state: &State<N>, id: NodeId, steps: &mut Vec<Step>) {
        let node = &state[id];
        let advice = planning::advice(state, self.allowed);
        let advice = advice.get(usize::from(id.0)).copied().unwrap_or_default();
        // A policy's no is obeyed as the planner says it; another one is a fault of its own.
        let strokes = Stroke::ALL.iter().filter(|stroke| match stroke {
            Stroke::Revoke => advice.revoke,
            _ => true,
        });
        steps.extend(strokes.map(|stroke| Step::Strikes(*stroke, id)));
        steps.push(Step::Revoke(id));
        if matches!(node.agent, Agent::Committed { .. }) {
            let ends = [CallEnds::Accepted, CallEnds::Refused, CallEnds::NeverMade];
            steps.extend(ends.map(|ends| Step::Calls(id, ends)));
        }
        steps.extend([Step::Agent(id), Step::Dies(id, false), Step::Dies(id, true)]);
        steps.push(Step::Lands(id));
        steps.extend(Event::ALL.map(|event| Step::Happens(event, id)));
    }
}

impl<const N: usize> Model for Configuration<N> {
    type State = State<N>;
    type Action = Step;

    fn init_states(&self) -> Vec<State<N>> {
        let node = Node {
            slot: None,
            lease: Some(Lease::new(0)),
            leases: 0,
            object: Object::default(),
            is_wanted: false,
            is_loosened: false,
            needs_reboot: true,
            has_pods: true,
            is_up: true,
            down: 0,
            agent: Agent::Idle,
            flight: None,
            journal: Journal::default(),
            pending: 0,
        };
        vec![State {
            nodes: [node; N],
            operators: [Operator::Idle; 2],
            is_paused: false,
            faults: self.faults,
            flaw: None,
        }]
    }

    fn actions(&self, state: &State<N>, steps: &mut Vec<Step>) {
        if state.flaw.is_some() {
            return;
        }
        self.of_operators(state, steps);
        for id in State::<N>::ids() {
            self.of_node(state, id, steps);
        }
        steps.extend([Step::Brake(true), Step::Brake(false), Step::Minute]);
    }

    fn next_state(&self, last: &State<N>, step: Step) -> Option<State<N>> {
        self.applied(last, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "no invariant is broken",
                |model: &Self, state: &State<N>| model.broken(state).is_none(),
            ),
            Property::sometimes("every node is rebooted and clean", |_, state| {
                property::is_done(state)
            }),
        ]
    }
}

impl<const N: usize> Protocol for Configuration<N> {
    fn broken(&self, state: &State<N>) -> Option<&'static str> {
        let invariants = property::invariants::<N>();
        invariants
            .iter()
            .find(|(_, holds)| !holds(state, self.allowed))
            .map(|(name, _)| *name)
    }

    fn goals(&self) -> Vec<Goal<State<N>>> {
        let mut goals = property::goals::<N>();
        goals.extend(property::goals_of_faults::<N>(self.faults));
        goals
    }

    fn is_done(&self, state: &State<N>) -> bool {
        property::is_done(state)
    }

    fn is_clean(&self, state: &State<N>) -> bool {
        property::is_clean(state)
    }

    fn is_progress(&self, state: &State<N>, step: &Step) -> bool {
        let advice = |id: NodeId| {
            let advice = planning::advice(state, self.allowed);
            advice.get(usize::from(id.0)).copied().unwrap_or_default()
        };
        match step {
            Step::SetsOut(_, job, id) => job.is_advised(&advice(*id)),
            Step::Strikes(stroke, id) => match stroke {
                Stroke::Create => advice(*id).create || advice(*id).demand,
                Stroke::Close => advice(*id).close,
                Stroke::Show => advice(*id).show,
                Stroke::Void | Stroke::Revoke => advice(*id).revoke,
                Stroke::GrantLate => !self.rules.hold(Rule::RepairIsVoid),
                Stroke::FreeByGuess | Stroke::EndByTime => false,
            },
            Step::Calls(_, ends) => *ends == CallEnds::Accepted,
            Step::Happens(event, _) => event.is_progress(),
            Step::Operator(_) | Step::Agent(_) | Step::Minute | Step::Brake(false) => true,
            Step::Forgets(_)
            | Step::Revoke(_)
            | Step::Dies(..)
            | Step::Lands(_)
            | Step::Brake(true) => false,
        }
    }
}
