//! Which members of a destination work. While one does, the failure of another is not an outage of the destination.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The members of a destination.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<PeerState>>);

#[derive(Debug, Default)]
struct PeerState {
    joined: u64,
    /// What fails at each member, by the member's number.
    failing: BTreeMap<u64, BTreeSet<&'static str>>,
}

/// A member.
#[derive(Debug)]
pub struct Peer {
    peers: Peers,
    number: u64,
}

impl Peers {
    /// One more member, which works as far as known.
    #[must_use]
    pub fn join(&self) -> Peer {
        let mut state = self.lock();
        state.joined += 1;
        let number = state.joined;
        state.failing.insert(number, BTreeSet::new());
        Peer { peers: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, PeerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// This fails at the member.
    pub fn fails(&self, what: &'static str) {
        if let Some(failing) = self.peers.lock().failing.get_mut(&self.number) {
            failing.insert(what);
        }
    }

    /// This works at the member.
    pub fn works(&self, what: &'static str) {
        if let Some(failing) = self.peers.lock().failing.get_mut(&self.number) {
            failing.remove(what);
        }
    }

    /// The member gets no more events.
    pub fn leave(&self) {
        self.peers.lock().failing.remove(&self.number);
    }

    /// Whether there is no other member.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.peers.lock().failing.keys().all(|number| *number == self.number)
    }

    /// Whether another member works.
    #[must_use]
    pub fn others_work(&self) -> bool {
        let state = self.peers.lock();
        state.failing.iter().any(|(number, failing)| *number != self.number && failing.is_empty())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_member_works_until_anything_fails_there_or_it_leaves() {
        let peers = Peers::default();
        let one = peers.join();
        assert!(!one.others_work() && one.is_alone());
        let other = peers.join();
        assert!(one.others_work() && !one.is_alone());
        other.fails("requests");
        other.fails("polls");
        other.works("requests");
        assert!(!one.others_work());
        other.works("polls");
        one.fails("requests");
        assert!(one.others_work() && !other.others_work());
        drop(other);
        assert!(!one.others_work() && one.is_alone());
    }
}
