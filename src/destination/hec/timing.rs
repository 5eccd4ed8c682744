//! The time limits of the client.

use std::time::Duration;

/// Maximum age of the content of token and certificate files.
pub(super) const FILE_AGE: Duration = Duration::from_secs(10);

/// The time limits.
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
    /// How often the token's file is read after a refusal.
    pub(super) token_poll: Duration,
    /// How soon a working collector answers an empty request.
    pub(super) probe: Duration,
    /// After this time without an answer of the collector, an empty request shows whether it hangs, which must be answered
    /// within this time.
    pub(super) silence: Duration,
    /// After this time without an accepted event, failed requests are an outage, even if empty ones are answered.
    pub(super) patience: Duration,
    /// The interval of polls for acknowledgements.
    pub(super) ack_poll: Duration,
    /// Shortest time from one probe for acknowledgements to the next at one collector.
    pub(super) ack_probe: Duration,
}

pub(super) const RETRY_TIMING: Timing = Timing {
    first: Duration::from_millis(250),
    most: Duration::from_secs(30),
    hold: Duration::from_secs(10),
    hold_jitter: Duration::from_secs(20),
    token_poll: Duration::from_secs(1),
    probe: Duration::from_secs(10),
    silence: Duration::from_secs(5),
    patience: Duration::from_secs(10),
    ack_poll: Duration::from_secs(1),
    ack_probe: Duration::from_secs(10),
};
