//! A destination as the pipeline sees it.

use super::Isolation;
use crate::core::destination_account::DestinationAccount;
use crate::core::destination_name::DestinationName;

/// A destination, its name in events, and what to do with refused events.
#[derive(Debug)]
pub struct Route<K> {
    /// Its name, unique within the process.
    pub name: DestinationName,
    /// The destination.
    pub destination: K,
    /// What to do with an event that it refuses for good.
    pub on_reject: OnReject,
    /// Set for an isolated destination: the others continue while it is down. `None` if the others wait for it.
    pub isolation: Option<Isolation>,
    /// The counts of its events.
    pub account: DestinationAccount,
}

/// What to do with an event that the destination refuses for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReject {
    /// Write it as a dead letter, with its log, and continue.
    DeadLetter,
    /// Halt the shard until the script or the settings are corrected.
    Halt,
}

impl<K> Route<K> {
    /// A route to a destination that is not isolated, with all counts at zero.
    #[must_use]
    pub fn new(name: DestinationName, destination: K, on_reject: OnReject) -> Self {
        Self { name, destination, on_reject, isolation: None, account: DestinationAccount::default() }
    }

    /// A route to an isolated destination. Once `most` bytes wait for it, the other destinations continue without it.
    #[must_use]
    pub fn isolated(self, most: usize) -> Self {
        Self { isolation: Some(Isolation::new(most)), ..self }
    }
}
