//! A channel on the wire: its id, and the cookies that keep it at one indexer.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::header::HeaderValue;

/// Maximum number of cookies of a channel, and their maximum size: a load balancer sets one or two.
const MAX_COOKIES: usize = 16;
const MAX_COOKIE_BYTES: usize = 4_096;

/// A channel. The cookies of a load balancer are kept for each channel alone, so that its requests and its polls reach the
/// same indexer.
pub struct Channel {
    id: HeaderValue,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl Channel {
    /// A new channel with a unique id.
    #[must_use]
    pub fn new() -> Self {
        let id = HeaderValue::from_str(&guid(random(), random())).expect("hex digits and dashes are a header value");
        Self { id, cookies: Mutex::default() }
    }

    /// Its id, for the header.
    pub(super) fn id(&self) -> HeaderValue {
        self.id.clone()
    }

    /// The `Cookie` header, if there are cookies.
    pub(super) fn cookies(&self) -> Option<HeaderValue> {
        let cookies: Vec<String> = self.lock().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut header = HeaderValue::from_str(&cookies.join("; ")).ok().filter(|_| !cookies.is_empty())?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Stores the cookies of a reply. Their path and age are ignored: all requests of a channel go to one address,
    /// and a channel is short-lived.
    pub(super) fn keep_cookies<'a>(&self, set: impl IntoIterator<Item = &'a HeaderValue>) {
        for cookie in set {
            let pair = cookie.to_str().ok().and_then(|cookie| cookie.split(';').next());
            let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) else { continue };
            let (name, value) = (name.trim(), value.trim());
            let mut cookies = self.lock();
            cookies.remove(name);
            let bytes: usize = cookies.iter().map(|(name, value)| name.len() + value.len()).sum();
            let fits = bytes + name.len() + value.len() <= MAX_COOKIE_BYTES && cookies.len() < MAX_COOKIES;
            if fits && !name.is_empty() && !value.is_empty() {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cookie can be a credential.
impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A number that differs from process to process, even on machines that were started from one image: its keys come from
/// the operating system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A version 4 UUID (RFC 9562 section 5.4) of these bits.
fn guid(high: u64, low: u64) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(channel: &Channel, cookie: &str) {
        channel.keep_cookies([&HeaderValue::from_str(cookie).unwrap()]);
    }

    #[test]
    fn a_channel_is_a_version_4_uuid_of_random_bits() {
        assert_eq!(guid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(guid(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_ne!(Channel::new().id(), Channel::new().id());
    }

    #[test]
    fn the_latest_cookie_of_a_name_is_sent_back_without_its_attributes() {
        let channel = Channel::new();
        assert_eq!(channel.cookies(), None);
        set(&channel, "AWSALB=one; Path=/; Expires=Thu, 01 Jan 2026 00:00:00 GMT");
        set(&channel, "AWSALBCORS=one; Path=/; SameSite=None; Secure");
        set(&channel, "AWSALB=two=2; Path=/");
        assert_eq!(channel.cookies().unwrap(), "AWSALB=two=2; AWSALBCORS=one");
        set(&channel, "AWSALBCORS=; Max-Age=0");
        set(&channel, "no pair at all");
        assert_eq!(channel.cookies().unwrap(), "AWSALB=two=2");
        assert!(!format!("{channel:?}").contains("two"));
    }

    #[test]
    fn endless_cookies_use_bounded_memory() {
        let channel = Channel::new();
        for number in 0..1_000 {
            set(&channel, &format!("name{number}={}", "v".repeat(number)));
            set(&channel, &format!("name0={}", "v".repeat(10 * number)));
        }
        set(&channel, &format!("large={}", "v".repeat(MAX_COOKIE_BYTES)));
        let length = channel.cookies().unwrap().len();
        assert!(length <= MAX_COOKIE_BYTES + 3 * MAX_COOKIES, "{length}");
    }
}
