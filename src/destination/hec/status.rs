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

/// The past outages of the destination: the times in which every member failed.
pub(super) fn outages(members: &[Arc<Member>]) -> Vec<Outage> {
    let now = Instant::now();
    let of_member = |member: &Arc<Member>| {
        let mut outages = member.request_health.outages(now);
        if let Health::Down { since, cause } | Health::Refusing { since, cause } = member.request_health.health() {
            outages.push(Outage { began: since, ended: now, cause });
        }
        outages
    };
    let mut outages = members.iter().map(of_member).reduce(|one, other| common(&one, &other)).unwrap_or_default();
    outages.retain(|outage| outage.ended < now);
    outages
}

/// The times that are in both lists, with the cause of what began last. The lists are in order.
fn common(one: &[Outage], other: &[Outage]) -> Vec<Outage> {
    let overlap = |one: &Outage, other: &Outage| {
        let last = if one.began > other.began { one } else { other };
        let ended = one.ended.min(other.ended);
        (last.began < ended).then(|| Outage { ended, ..last.clone() })
    };
    one.iter().flat_map(|one| other.iter().filter_map(move |other| overlap(one, other))).collect()
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
            "Seconds that the oldest unacknowledged request has waited",
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_destination_is_down_while_all_its_members_are_for_the_cause_of_the_last() {
        let start = Instant::now();
        let outage = |began, ended, cause: &str| {
            let at = |seconds| start + Duration::from_secs(seconds);
            Outage { began: at(began), ended: at(ended), cause: cause.to_owned() }
        };
        let one = [outage(0, 10, "503"), outage(20, 60, "503")];
        let other = [outage(5, 15, "reset"), outage(17, 30, "reset"), outage(40, 50, "refused")];
        assert_eq!(common(&one, &other), [outage(5, 10, "reset"), outage(20, 30, "503"), outage(40, 50, "refused")]);
        assert_eq!(common(&one, &[]), []);
    }
}
