//! How long the client waits for what.

use std::time::Duration;

/// How old may be what was read from a file when it is used: the token, the certificates.
pub(super) const FILE_AGE: Duration = Duration::from_secs(10);

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Longest first wait after a failure.
    pub(super) first: Duration,
    /// Longest wait after any failure.
    pub(super) most: Duration,
    /// Shortest wait after a refusal.
    pub(super) hold: Duration,
    /// Longest time on top of it.
    pub(super) hold_jitter: Duration,
    /// How often the token's file is looked at after a refusal.
    pub(super) token_poll: Duration,
    /// How soon a collector that is well answers an empty request.
    pub(super) probe: Duration,
    /// When nothing was accepted for so long, requests that fail are an outage, even if empty ones are answered.
    pub(super) patience: Duration,
    /// How often acknowledgements are asked for.
    pub(super) ack_poll: Duration,
}

pub(super) const RETRY_TIMING: Timing = Timing {
    first: Duration::from_millis(250),
    most: Duration::from_secs(30),
    hold: Duration::from_secs(10),
    hold_jitter: Duration::from_secs(20),
    token_poll: Duration::from_secs(1),
    probe: Duration::from_secs(10),
    patience: Duration::from_secs(10),
    ack_poll: Duration::from_secs(1),
};
