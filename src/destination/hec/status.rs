//! The combined state of the members.

use std::sync::Arc;

use tokio::time::Instant;

use super::acks::Waiting;
use super::indexing::Indexing;
use super::member::Member;
use crate::core::certificates::CertificateEnds;
use crate::destination::{Gauge, Health, Outage};

/// Up while any of the members is up; problems of the others are warnings.
pub(super) fn health(members: &[Arc<Member>]) -> Health {
    let mut all: Vec<Health> = members.iter().map(|member| member.health()).collect();
    let best = |health: &Health| match health {
        Health::Up { .. } => 0,
        Health::Unknown => 1,
        Health::Down { .. } => 2,
        Health::Refusing { .. } => 3,
    };
    all.sort_by_key(best);
    all.swap_remove(0)
}

/// The outages of the destination.
pub(super) fn outages(members: &[Arc<Member>]) -> Vec<Outage> {
    let now = Instant::now();
    // While other members accept events, the outage of one is not an outage of the destination.
    match members {
        [alone] => alone.request_health.outages(now).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// When the first of the members' certificates expires, and the first of ours.
pub(super) fn certificates(members: &[Arc<Member>]) -> CertificateEnds {
    let ends = members.iter().map(|member| member.endpoint.certificates());
    ends.fold(CertificateEnds::default(), CertificateEnds::earliest)
}

/// The members, and the backlog of acknowledgements, including that of removed members.
pub(super) fn gauges(members: &[Arc<Member>], with_leaving: &[Arc<Member>]) -> Vec<Gauge> {
    let gauge = |name, help, value| Gauge { name, help, value };
    let up = members.iter().filter(|member| matches!(member.health(), Health::Up { .. })).count();
    let mut gauges = vec![
        gauge("members", "Collectors of hec.url", members.len() as u64),
        gauge("members_up", "Collectors that accepted their last request", up as u64),
    ];
    let waiting: Vec<Waiting> =
        with_leaving.iter().filter_map(|member| member.acks.as_ref()).map(Indexing::waiting).collect();
    if waiting.is_empty() {
        return gauges;
    }
    let oldest = waiting.iter().filter_map(|waiting| waiting.oldest).min();
    gauges.extend([
        gauge(
            "unacknowledged_requests",
            "Requests that were accepted and wait for an acknowledgement of the indexers",
            waiting.iter().map(|waiting| waiting.requests as u64).sum(),
        ),
        gauge(
            "unacknowledged_bytes",
            "Bytes of events that were accepted and wait for an acknowledgement of the indexers",
            with_leaving.iter().map(|member| member.unacked_bytes()).sum(),
        ),
        gauge(
            "oldest_unacknowledged_seconds",
            "Seconds that the oldest of them has waited",
            oldest.map_or(0, |oldest| oldest.elapsed().as_secs()),
        ),
    ]);
    gauges
}

/// Problems although events are accepted.
pub(super) fn warnings(members: &[Arc<Member>]) -> Vec<String> {
    let scattered = members.iter().filter(|member| member.acks.as_ref().is_some_and(Indexing::is_scattered));
    let scattered = scattered.map(|member| {
        format!(
            "a load balancer at {} sends requests of one channel to several indexers, so each request needs a poll of \
             its own: turn on its sticky sessions (cookies), or name the indexers in hec.url",
            member.url()
        )
    });
    let others_work = matches!(health(members), Health::Up { .. } | Health::Unknown);
    let broken = members.iter().filter(|_| others_work).flat_map(|member| member.faults());
    scattered.chain(broken).collect()
}
