//! Selects the addresses of a host name that become members: pure.
//!
//! A collector's name can stand for the indexers of a cluster, or for the nodes of a load balancer. Each address is
//! then a member. If a name has IPv4 and IPv6 addresses, only those of the family that the system lists first are used,
//! because both reach the same machines.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Time between two lookups of a name while requests are sent.
pub(super) const ADDRESS_LOOKUP_INTERVAL: Duration = Duration::from_secs(60);

/// An address that is missing from all answers for this long is removed. A DNS server that knows many addresses may
/// return only some of them at a time.
const GONE_AFTER: Duration = Duration::from_secs(300);

/// Maximum number of addresses of a name. Each has its own connections and limits.
const MAX_ADDRESSES_PER_NAME: usize = 32;

/// The addresses of a name that are members, each with the time when it was last found. Empty as long as the name has a
/// single address: its only member then connects by name, and so follows DNS changes.
#[derive(Debug, Default)]
pub(super) struct Addresses(BTreeMap<IpAddr, Instant>);

impl Addresses {
    /// Records the result of a lookup: the addresses of the name, in the system's order.
    pub(super) fn found(&mut self, addresses: &[IpAddr], now: Instant) {
        let Some(first) = addresses.first() else { return };
        let family = || addresses.iter().filter(|address| address.is_ipv4() == first.is_ipv4());
        if self.0.is_empty() && family().all(|address| address == first) {
            return;
        }
        for address in family() {
            self.0.entry(*address).and_modify(|found| *found = now);
        }
        self.0.retain(|_, found| now < *found + GONE_AFTER);
        for address in family() {
            if self.0.len() < MAX_ADDRESSES_PER_NAME {
                self.0.insert(*address, now);
            }
        }
    }

    /// The members; `None` is the member for the name itself.
    pub(super) fn members(&self) -> Vec<Option<IpAddr>> {
        if self.0.is_empty() { vec![None] } else { self.0.keys().copied().map(Some).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn members(of: &Addresses) -> Vec<String> {
        of.members().iter().map(|member| member.map_or_else(|| "the name".to_owned(), |at| at.to_string())).collect()
    }

    #[test]
    fn a_name_with_one_address_is_one_member_that_follows_it() {
        let (mut of, now) = (Addresses::default(), Instant::now());
        assert_eq!(members(&of), ["the name"]);
        for found in [&["192.0.2.1"][..], &["192.0.2.9"], &[], &["192.0.2.1", "192.0.2.1"], &["::1", "127.0.0.1"]] {
            of.found(&addresses(found), now);
            assert_eq!(members(&of), ["the name"], "{found:?}");
        }
    }

    #[test]
    fn each_of_several_addresses_is_a_member_and_the_family_that_comes_first_counts() {
        let (mut of, now) = (Addresses::default(), Instant::now());
        of.found(&addresses(&["192.0.2.2", "2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"]), now);
        assert_eq!(members(&of), ["192.0.2.1", "192.0.2.2"]);
        let mut of = Addresses::default();
        of.found(&addresses(&["2001:db8::2", "192.0.2.1", "2001:db8::1", "192.0.2.2"]), now);
        assert_eq!(members(&of), ["2001:db8::1", "2001:db8::2"]);
    }

    #[test]
    fn an_address_is_added_when_it_is_resolved_and_removed_when_it_is_missing_for_minutes() {
        let (mut of, now) = (Addresses::default(), Instant::now());
        let second = Duration::from_secs(1);
        of.found(&addresses(&["192.0.2.1", "192.0.2.2"]), now);
        of.found(&addresses(&["192.0.2.2", "192.0.2.3"]), now + ADDRESS_LOOKUP_INTERVAL);
        assert_eq!(members(&of), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        of.found(&[], now + 2 * GONE_AFTER);
        assert_eq!(members(&of).len(), 3, "what DNS does not answer says nothing");
        of.found(&addresses(&["192.0.2.2"]), now + GONE_AFTER - second);
        assert_eq!(members(&of).len(), 3);
        of.found(&addresses(&["192.0.2.2"]), now + GONE_AFTER);
        assert_eq!(members(&of), ["192.0.2.2", "192.0.2.3"]);
        of.found(&addresses(&["192.0.2.2"]), now + GONE_AFTER + ADDRESS_LOOKUP_INTERVAL);
        assert_eq!(members(&of), ["192.0.2.2"], "the last one of several stays a member of its own");
    }

    #[test]
    fn a_name_with_endless_addresses_has_a_bounded_number_of_members() {
        let (mut of, now) = (Addresses::default(), Instant::now());
        let many: Vec<IpAddr> = (0..200).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        let first = |from: usize| {
            many[from..from + MAX_ADDRESSES_PER_NAME].iter().map(|address| Some(*address)).collect::<Vec<_>>()
        };
        of.found(&many[..100], now);
        of.found(&many, now + ADDRESS_LOOKUP_INTERVAL);
        assert_eq!(of.members(), first(0));
        of.found(&many[150..], now + GONE_AFTER);
        assert_eq!(of.members(), first(0), "they were found since");
        of.found(&many[150..], now + ADDRESS_LOOKUP_INTERVAL + GONE_AFTER);
        assert_eq!(of.members(), first(150));
    }
}
