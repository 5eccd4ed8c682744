//! One reason why the state is not good.

/// The state of the program, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Everything is known to be good.
    Well,
    /// No problem is known, but something is not known yet, or there is nothing to do.
    Waiting,
    /// A problem needs attention.
    Trouble,
    /// Nothing is read from SLS.
    Stopped,
}

impl State {
    /// As a word, for programs.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Waiting => "waiting",
            Self::Trouble => "trouble",
            Self::Stopped => "stopped",
        }
    }
}

/// Its effect on the delivery of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Logs are delivered.
    Flows,
    /// Logs wait in SLS.
    Pauses,
    /// Logs are lost.
    Lost,
}

/// One reason why the state is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    /// Its severity.
    pub(super) state: State,
    /// Its effect on the delivery of logs.
    pub(super) effect: Effect,
    /// The problem, as the beginning of a sentence without a full stop.
    pub(super) text: String,
    /// The consequence, in the same form.
    pub(super) consequence: &'static str,
    /// Whether the program is not ready because of it.
    pub(super) is_not_ready: bool,
    /// The remedy, in the same form.
    pub(super) remedy: String,
}

impl Reason {
    /// A reason while logs are delivered.
    pub(super) fn new(state: State, text: String) -> Self {
        let is_not_ready = state == State::Stopped;
        Self { state, effect: Effect::Flows, text, consequence: "", is_not_ready, remedy: String::new() }
    }

    /// With the consequence.
    pub(super) fn so(self, effect: Effect, consequence: &'static str) -> Self {
        Self { effect, consequence, ..self }
    }

    /// It stops only one source: the program is ready, but the problem needs attention.
    pub(super) fn while_others_flow(self) -> Self {
        let effect = if self.is_not_ready { Effect::Flows } else { self.effect };
        Self { state: self.state.min(State::Trouble), effect, is_not_ready: false, ..self }
    }

    /// The program is not ready because of it, even if some logs are delivered.
    pub(super) fn not_ready(self) -> Self {
        Self { is_not_ready: true, ..self }
    }

    /// With the remedy.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}
