//! `ip`: addresses and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mlua::{Lua, Table, Value};

use super::native::{Raise, function, text, unexpected};

/// Maximum number of networks in one list: all of them are checked.
const MAX_NETWORKS: usize = 10_000;

/// Puts `ip` into `globals`.
pub(super) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let library = lua.create_table()?;
    library.set("parse", function(lua, parse)?)?;
    library.set("in_cidr", function(lua, in_cidr)?)?;
    library.set("is_private", function(lua, is_private)?)?;
    globals.set("ip", library)
}

/// `ip.parse(text)` → the address in its canonical form, and 4 or 6; or nil and the reason.
fn parse(lua: &Lua, value: Value) -> Result<(Option<String>, Value), Raise> {
    let value = text(lua, 1, value)?;
    Ok(match address(&value.as_bytes()) {
        Ok(address) => (Some(address.to_string()), Value::Integer(if address.is_ipv4() { 4 } else { 6 })),
        Err(why) => (None, Value::String(lua.create_string(why)?)),
    })
}

/// `ip.in_cidr(address, network or list of networks)` → a boolean; or nil and the reason if the address is invalid.
fn in_cidr(lua: &Lua, (value, networks): (Value, Value)) -> Result<Result<bool, String>, Raise> {
    let value = text(lua, 1, value)?;
    let inside: &dyn Fn(IpAddr) -> Result<bool, Raise> = match &networks {
        Value::Table(list) => {
            if list.raw_len() > MAX_NETWORKS {
                return Err(Raise::Argument(
                    2,
                    format!("a list of {} networks: at most {MAX_NETWORKS}", list.raw_len()),
                ));
            }
            &|address| {
                for item in list.sequence_values::<Value>() {
                    let network = text(lua, 2, item?)?;
                    if Network::parse(&network.as_bytes()).map_err(|why| Raise::Argument(2, why))?.holds(address) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
        Value::String(network) => &|address| {
            Network::parse(&network.as_bytes())
                .map(|network| network.holds(address))
                .map_err(|why| Raise::Argument(2, why))
        },
        other => return Err(unexpected(2, "string or list", other)),
    };
    match address(&value.as_bytes()) {
        Ok(address) => inside(address).map(Ok),
        Err(why) => Ok(Err(why)),
    }
}

/// `ip.is_private(address)` → whether the address is private, shared, loopback or link-local; or nil and the reason
/// if it is invalid.
fn is_private(lua: &Lua, value: Value) -> Result<Result<bool, String>, Raise> {
    let value = text(lua, 1, value)?;
    Ok(address(&value.as_bytes()).map(|address| match address {
        // RFC 1918, 6598, 1122 and 3927.
        IpAddr::V4(four) => {
            let shared = four.octets()[0] == 100 && four.octets()[1] & 0xc0 == 64;
            four.is_private() || four.is_loopback() || four.is_link_local() || shared
        }
        // RFC 4193 and 4291.
        IpAddr::V6(six) => six.is_unique_local() || six.is_loopback() || six.is_unicast_link_local(),
    }))
}

/// Parses an address. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`, RFC 4291 section 2.5.5.2) becomes the IPv4
/// address.
fn address(text: &[u8]) -> Result<IpAddr, String> {
    let shown = || String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
    let address: Option<IpAddr> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    address.map(|address| address.to_canonical()).ok_or_else(|| format!("not an IP address: '{}'", shown()))
}

/// A block of addresses (RFC 4632, RFC 4291 section 2.3).
#[derive(Debug, PartialEq, Eq)]
struct Network {
    base: IpAddr,
    /// Length of the prefix, in bits.
    bits: u8,
}

impl Network {
    /// Parses `10.0.0.0/8`, `2001:db8::/32`, or one address.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
        let wrong = |what: &str| format!("'{text}' is not a network: {what}");
        let (start, bits) = text.split_once('/').map_or((text.as_str(), None), |(start, bits)| (start, Some(bits)));
        let written: IpAddr = start.parse().map_err(|_| wrong("write 10.0.0.0/8 or 2001:db8::/32"))?;
        let base = written.to_canonical();
        let widest = if written.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => widest,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|&bits: &u8| bits <= widest && bits.to_string().len() == text.len() - start.len() - 1)
                .ok_or_else(|| wrong(&format!("the prefix is a number from 0 to {widest}")))?,
        };
        match (written, base) {
            // ::ffff:10.0.0.0/104 is 10.0.0.0/8; a shorter prefix contains more than IPv4 addresses.
            (IpAddr::V6(_), IpAddr::V4(_)) if bits >= 96 => Ok(Self { base, bits: bits - 96 }),
            _ => Ok(Self { base: written, bits }),
        }
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (Ipv4Addr::to_bits(base) ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                (Ipv6Addr::to_bits(base) ^ address.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::script::stdlib::tests::check;

    #[test]
    fn an_address_is_in_its_network() {
        let holds = |address: &str, network: &str, expected: bool| {
            check(&format!("assert(ip.in_cidr('{address}', '{network}') == {expected})"));
        };
        holds("10.1.2.3", "10.0.0.0/8", true);
        holds("11.1.2.3", "10.0.0.0/8", false);
        holds("10.1.2.3", "10.1.2.3", true);
        holds("10.1.2.3", "0.0.0.0/0", true);
        holds("10.1.2.3", "::/0", false);
        holds("2001:db8::1", "2001:db8::/32", true);
        holds("2001:db9::1", "2001:db8::/32", false);
        holds("2001:db8::1", "::/0", true);
        holds("::ffff:10.1.2.3", "10.0.0.0/8", true);
        holds("10.1.2.3", "::ffff:10.0.0.0/104", true);
        holds("11.1.2.3", "::ffff:10.0.0.0/104", false);
        holds("192.168.1.7", "192.168.1.9/24", true);
    }

    #[test]
    fn a_list_contains_what_one_of_its_networks_contains() {
        check("local nets = { '10.0.0.0/8', 'fd00::/8' } assert(ip.in_cidr('fd00::1', nets) == true)");
        check("assert(ip.in_cidr('8.8.8.8', { '10.0.0.0/8' }) == false and ip.in_cidr('8.8.8.8', {}) == false)");
    }

    #[test]
    fn an_invalid_address_gives_nil_and_an_invalid_network_an_error() {
        check(
            "local y, why = ip.in_cidr('ecs.aliyuncs.com', '10.0.0.0/8') assert(y == nil and why == \"not an IP address: 'ecs.aliyuncs.com'\")",
        );
        check("local a, why = ip.parse('1.2.3') assert(a == nil and why:find('not an IP address', 1, true))");
        for network in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08", "ten", "::/129"] {
            check(&format!(
                "local ok, why = pcall(ip.in_cidr, '10.0.0.1', '{network}') assert(not ok and why:find('is not a network', 1, true), why)"
            ));
        }
        check(
            "local ok, why = pcall(function() local x = ip.in_cidr(nil, '::/0') end) assert(why == \"test.lua:1: bad argument #1 to 'in_cidr' (string expected, got nil)\", why)",
        );
    }

    #[test]
    fn private_addresses_are_exactly_those_of_the_standards() {
        for address in [
            "10.0.0.1",
            "172.31.0.1",
            "192.168.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "fd00::1",
            "::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            check(&format!("assert(ip.is_private('{address}') == true)"));
        }
        for address in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1"] {
            check(&format!("assert(ip.is_private('{address}') == false)"));
        }
    }

    #[test]
    fn parse_returns_the_canonical_form() {
        check("local a, v = ip.parse('2001:DB8:0:0::1') assert(a == '2001:db8::1' and v == 6)");
        check("local a, v = ip.parse('::ffff:10.0.0.1') assert(a == '10.0.0.1' and v == 4)");
    }

    proptest! {
        #[test]
        fn a_network_contains_addresses_with_its_leading_bits(base: u32, other: u32, bits in 0..=32_u8) {
            let network = Network { base: IpAddr::V4(Ipv4Addr::from_bits(base)), bits };
            let shared = (base ^ other).leading_zeros() >= u32::from(bits);
            prop_assert_eq!(network.holds(IpAddr::V4(Ipv4Addr::from_bits(other))), shared);
            let parsed = Network::parse(format!("{}/{bits}", Ipv4Addr::from_bits(base)).as_bytes());
            prop_assert_eq!(parsed, Ok(network));
        }

        #[test]
        fn no_text_makes_it_panic(text: Vec<u8>) {
            let _ = (address(&text), Network::parse(&text));
        }
    }
}
