//! The members at which a request got no answer.

use std::sync::Arc;

use tokio::time::Instant;

use super::member::Member;
use super::suspicion::may_go_elsewhere;
use super::tally::FirstFailure;

/// Where a request, or the one that it is a part of, got no answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures {
    /// Each once.
    members: Vec<Arc<Member>>,
    /// The member at which it failed last, unless that has answered since, and its first failure there.
    last: Option<(Arc<Member>, FirstFailure)>,
    /// It, or its parts, are sent to the last member again, to show whether its size or an event is the cause.
    is_suspected: bool,
}

impl Failures {
    /// It failed at this member.
    pub(super) fn add(&mut self, member: &Arc<Member>) {
        if !self.include(member) {
            self.members.push(Arc::clone(member));
        }
    }

    /// After it failed at this member, to which it was sent then, it is suspected or not. Returns the first failure
    /// there.
    pub(super) fn suspect(&mut self, is_suspected: bool, member: &Arc<Member>, sent_at: Instant) -> FirstFailure {
        self.is_suspected = is_suspected;
        self.last.get_or_insert_with(|| (Arc::clone(member), member.tally.first_failure(sent_at))).1
    }

    /// It goes to this member. Returns whether it failed at another one last, or was not suspected: that is forgotten.
    pub(super) fn go_to(&mut self, member: &Arc<Member>) -> bool {
        let is_suspected = self.is_suspected;
        self.last.take_if(|(last, _)| !is_suspected || !Arc::ptr_eq(last, member)).is_some()
    }

    /// The last member has answered, or is down.
    pub(super) fn clear(&mut self) {
        self.last = None;
        self.is_suspected = false;
    }

    /// Whether it failed at this member.
    pub(super) fn include(&self, member: &Arc<Member>) -> bool {
        self.members.iter().any(|known| Arc::ptr_eq(known, member))
    }

    /// Whether it goes to this member only if no other takes it.
    pub(super) fn avoid(&self, member: &Arc<Member>) -> bool {
        !self.is_suspected && self.include(member)
    }

    /// The member at which it failed last.
    pub(super) fn last(&self) -> Option<&Arc<Member>> {
        self.last.as_ref().map(|(member, _)| member)
    }

    /// Whether it may go to further members before it is suspected.
    pub(super) fn may_go_elsewhere(&self) -> bool {
        may_go_elsewhere(self.members.len())
    }
}
