//! All members, and the turns of the requests of all shards.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::choice::{Candidate, Choice, choose};
use super::concurrency::{Admit, ConcurrencyLimit, FlowState, Ticket};
use super::member::Member;
use crate::destination::Health;

/// The members, and the word for those who wait that something may have changed.
#[derive(Debug)]
pub(super) struct Members {
    list: Vec<Arc<Member>>,
    changed: Notify,
    /// How often the token's file is looked at while a member refuses us.
    token_poll: Duration,
}

impl Members {
    /// These, at least one.
    pub(super) fn new(list: Vec<Arc<Member>>, token_poll: Duration) -> Self {
        Self { list, changed: Notify::new(), token_poll }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Arc<Member>] {
        &self.list
    }

    /// Most bytes of a request that any of them takes.
    pub(super) fn most_bytes(&self, now: Instant) -> usize {
        self.list.iter().map(|member| member.most_bytes(now)).min().unwrap_or_default()
    }

    /// Waits for the turn to send one request. It stays at `prefer`, if that takes it.
    pub(super) async fn turn(&self, prefer: Option<&Arc<Member>>) -> Permit<'_> {
        let prefer = prefer.and_then(|prefer| self.list.iter().position(|member| Arc::ptr_eq(member, prefer)));
        loop {
            // Listens before it asks, so that no change is missed in between.
            let changed = self.changed.notified();
            let candidates: Vec<Candidate> = self.list.iter().map(|member| member.candidate()).collect();
            let member = match choose(&candidates, prefer, Instant::now()) {
                Choice::Send(number) | Choice::Probe(number) => &self.list[number],
                Choice::Wait(None) => {
                    changed.await;
                    continue;
                }
                Choice::Wait(Some(until)) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                    continue;
                }
            };
            let admitted = member.limit().admit();
            let permit = |ticket| Permit { members: self, member: Arc::clone(member), ticket: Some(ticket) };
            match admitted {
                Admit::Go(ticket) => return permit(ticket),
                Admit::Probe(ticket, at) => {
                    let permit = permit(ticket);
                    // A timer may not call the present moment over, and meanwhile the others' room would end the wait for it.
                    if at <= Instant::now() {
                        return permit;
                    }
                    let refused = matches!(member.standing.health(), Health::Held { .. });
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep_until(at) => return permit,
                        () = member.endpoint.token_changed(self.token_poll), if refused => return permit,
                        () = self.another_opens(member), if self.list.len() > 1 => {}
                    }
                }
                // Somebody else was faster.
                Admit::Wait => {}
            }
        }
    }

    /// Resolves when a request may go to another member.
    async fn another_opens(&self, this: &Arc<Member>) {
        loop {
            let changed = self.changed.notified();
            let mut others = self.list.iter().filter(|member| !Arc::ptr_eq(member, this));
            if others.any(|member| member.limit().state() == FlowState::Room) {
                return;
            }
            changed.await;
        }
    }
}

/// The right to send a request to a member. It finds its way back even when the request is thrown away half-way.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    members: &'a Members,
    member: Arc<Member>,
    ticket: Option<Ticket>,
}

impl Permit<'_> {
    /// Whom to send it to.
    pub(super) fn member(&self) -> Arc<Member> {
        Arc::clone(&self.member)
    }

    /// Tells the member's flow what became of the request; returns what the flow makes of it.
    pub(super) fn settle(mut self, account: impl FnOnce(&mut ConcurrencyLimit, &Ticket) -> bool) -> bool {
        self.ticket.take().is_some_and(|ticket| account(&mut self.member.limit(), &ticket))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.member.limit().dropped(&ticket);
        }
        self.members.changed.notify_waiters();
    }
}
