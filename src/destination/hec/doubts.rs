//! The members at which a request got no answer, until another member's answer shows that they are at fault.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use super::member::Member;
use super::members::Permit;
use super::suspicion::Failure;
use super::verdict::{Verdict, answered_elsewhere};

/// The doubts about the members of one request. If it turns out that the request itself is the cause, they are dropped.
#[derive(Debug, Default)]
pub(super) struct Doubts<'a> {
    open: Vec<Doubt<'a>>,
    /// Resolve to the members that do not answer an empty request either.
    probes: FuturesUnordered<BoxFuture<'a, Option<Arc<Member>>>>,
}

#[derive(Debug)]
struct Doubt<'a> {
    permit: Permit<'a>,
    failed: Verdict,
    sent_at: Instant,
    since: Instant,
}

impl<'a> Doubts<'a> {
    /// The request that was sent with this permit got no answer. Frees its slot, and sends the member an empty request.
    pub(super) fn add(
        &mut self,
        mut permit: Permit<'a>,
        how: Failure,
        failed: Verdict,
        sent_at: Instant,
        patience: Duration,
    ) {
        permit.doubt(how);
        let member = permit.member();
        let probe = async move { if member.answers_empty(patience).await { None } else { Some(member) } };
        self.probes.push(probe.boxed());
        self.open.push(Doubt { permit, failed, sent_at, since: Instant::now() });
    }

    /// Works on, while members that answer nothing at all are closed.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(silent) = self.probes.next() => {
                    if let Some(silent) = silent {
                        self.close(&silent);
                    }
                }
            }
        }
    }

    /// This member answers nothing at all.
    fn close(&mut self, silent: &Arc<Member>) {
        let about_it = |doubt: &mut Doubt<'_>| Arc::ptr_eq(&doubt.permit.member(), silent);
        for Doubt { permit, failed, sent_at, .. } in self.open.extract_if(.., about_it) {
            permit.fail(&failed, sent_at);
        }
    }

    /// Another member has answered the request: the others are at fault, unless they have recovered since.
    pub(super) fn confirm(self) {
        for Doubt { permit, failed, sent_at, since } in self.open {
            if !permit.member().tally.has_answered_since(since) {
                permit.fail(&answered_elsewhere(failed), sent_at);
            }
        }
    }
}
