//! One thing that keeps the program from being well.

/// How well the program does, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// All of it is known to be as it should be.
    Well,
    /// Nothing is known to be wrong, but something is not known yet, or there is nothing to do.
    Waiting,
    /// Somebody should have a look.
    Trouble,
    /// Nothing is read from SLS.
    Stopped,
}

impl State {
    /// In a word, for programs.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Waiting => "waiting",
            Self::Trouble => "trouble",
            Self::Stopped => "stopped",
        }
    }
}

/// What it does to the flow of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Logs flow.
    Flows,
    /// Logs wait in SLS.
    Pauses,
    /// Logs are gone.
    Lost,
}

/// One thing that keeps the program from being well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    /// How much it matters.
    pub(super) state: State,
    /// What it does to the flow of logs.
    pub(super) effect: Effect,
    /// What it is, as a sentence begins and without its full stop.
    pub(super) text: String,
    /// What comes of it, likewise.
    pub(super) consequence: &'static str,
    /// Whoever asks whether the program is ready hears no.
    pub(super) is_not_ready: bool,
    /// What to do, likewise.
    pub(super) remedy: String,
}

impl Reason {
    /// Something that is not as it should be while logs flow.
    pub(super) fn new(state: State, text: String) -> Self {
        let is_not_ready = state == State::Stopped;
        Self { state, effect: Effect::Flows, text, consequence: "", is_not_ready, remedy: String::new() }
    }

    /// With what comes of it.
    pub(super) fn so(self, effect: Effect, consequence: &'static str) -> Self {
        Self { effect, consequence, ..self }
    }

    /// It stops one source, and others go on: then the program is ready, and still somebody should have a look.
    pub(super) fn while_others_flow(self) -> Self {
        let effect = if self.is_not_ready { Effect::Flows } else { self.effect };
        Self { state: self.state.min(State::Trouble), effect, is_not_ready: false, ..self }
    }

    /// It keeps the program from being ready, though something may still flow.
    pub(super) fn not_ready(self) -> Self {
        Self { is_not_ready: true, ..self }
    }

    /// With what to do.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}
