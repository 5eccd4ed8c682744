//! A destination as the pipeline sees it.

use super::OnReject;
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
    /// What became of its events.
    pub account: DestinationAccount,
}

impl<K> Route<K> {
    /// A route on which nothing was sent yet.
    #[must_use]
    pub fn new(name: DestinationName, destination: K, on_reject: OnReject) -> Self {
        Self { name, destination, on_reject, account: DestinationAccount::default() }
    }
}
