//! The meanings of *delivered* over syslog, from the strongest promise to the weakest.

use crate::destination::Promise;

/// The receiver's application acknowledged every message (RELP).
pub const ACKNOWLEDGED: Promise = Promise {
    label: "acknowledged",
    sentence: "delivered means acknowledged: the receiver has answered for every message",
};

/// The receiver read every byte and stayed connected.
pub const CONFIRMED: Promise = Promise {
    label: "confirmed",
    sentence: "delivered means confirmed: the receiver has read every byte, and stayed connected after that",
};

/// The receiver's system accepted every byte; the receiver itself proves nothing.
pub const WRITTEN: Promise = Promise {
    label: "written",
    sentence: "delivered means written: the receiver's operating system has accepted every byte; more is not known",
};

/// Our system accepted every byte.
pub const SENT: Promise = Promise { label: "sent", sentence: "delivered means sent: whether it arrives is not known" };
