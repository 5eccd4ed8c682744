//! The faults of a receiver.

use std::str::FromStr;

/// A fault. As text: `close-after=10`, `reset-after=10`, `stall`, `close-on=TEXT`, `ignore-close`, `bare-close`,
/// `refuse=TEXT`, `at-most=N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverFault {
    /// Every connection is closed after this many messages.
    CloseAfter(u64),
    /// Every connection is reset after this many messages.
    ResetAfter(u64),
    /// Nothing is read.
    Stall,
    /// A connection is closed when a message with this text comes, and that message is lost.
    CloseOn(String),
    /// The end of a connection is never answered.
    IgnoreClose,
    /// TLS connections are ended without `close_notify`.
    BareClose,
    /// Messages with this text are answered with 500 (RELP).
    Refuse(String),
    /// Connections beyond this many at once are accepted and closed.
    AtMost(u64),
}

/// Not a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is none of close-after=N, reset-after=N, stall, close-on=TEXT, ignore-close, bare-close, refuse=TEXT, at-most=N"
)]
pub struct FaultError(String);

impl FromStr for ReceiverFault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let wrong = || FaultError(text.to_owned());
        let number = |value: &str| value.parse().map_err(|_| wrong());
        match text.split_once('=') {
            Some(("close-after", count)) => Ok(Self::CloseAfter(number(count)?)),
            Some(("reset-after", count)) => Ok(Self::ResetAfter(number(count)?)),
            Some(("at-most", count)) => Ok(Self::AtMost(number(count)?)),
            Some(("close-on", text)) if !text.is_empty() => Ok(Self::CloseOn(text.to_owned())),
            Some(("refuse", text)) if !text.is_empty() => Ok(Self::Refuse(text.to_owned())),
            None if text == "stall" => Ok(Self::Stall),
            None if text == "ignore-close" => Ok(Self::IgnoreClose),
            None if text == "bare-close" => Ok(Self::BareClose),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_parsed_from_text() {
        assert_eq!("close-after=3".parse(), Ok(ReceiverFault::CloseAfter(3)));
        assert_eq!("refuse=a=b".parse(), Ok(ReceiverFault::Refuse("a=b".to_owned())));
        assert_eq!("at-most=1".parse(), Ok(ReceiverFault::AtMost(1)));
        assert_eq!("stall".parse(), Ok(ReceiverFault::Stall));
        for bad in ["", "stall=1", "close-after", "close-after=x", "refuse=", "explode"] {
            assert!(bad.parse::<ReceiverFault>().is_err(), "{bad:?}");
        }
    }
}
