//! A destination as the pipeline sees it.

use super::Isolation;
use crate::core::destination_account::DestinationAccount;
use crate::core::destination_name::DestinationName;

/// A destination, what events call it, and what is done with those that it refuses.
#[derive(Debug)]
pub struct Route<K> {
    /// Its name, unique within the process.
    pub name: DestinationName,
    /// The destination.
    pub destination: K,
    /// What to do with an event that it refuses for good.
    pub on_reject: OnReject,
    /// Lets the other destinations go on while it is down; none for one that all wait for.
    pub isolation: Option<Isolation>,
    /// What became of its events.
    pub account: DestinationAccount,
}

/// What to do with an event that the destination refuses for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReject {
    /// Put it on disk, with its log, and go on.
    DeadLetter,
    /// Halt the shard until somebody acts.
    Halt,
}

impl<K> Route<K> {
    /// A route on which nothing was sent yet, to a destination that all wait for.
    #[must_use]
    pub fn new(name: DestinationName, destination: K, on_reject: OnReject) -> Self {
        Self { name, destination, on_reject, isolation: None, account: DestinationAccount::default() }
    }

    /// The same to one that lets the others go on while it is down, once `most` bytes wait for it.
    #[must_use]
    pub fn isolated(self, most: usize) -> Self {
        Self { isolation: Some(Isolation::new(most)), ..self }
    }
}
