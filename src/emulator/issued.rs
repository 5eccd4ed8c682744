//! Temporary keys that one emulator issues and another one accepts, even in another process: secret and token are
//! computed from the ID, which contains the expiry.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The key from which secrets and tokens are computed. It gives access only to emulators.
const SEED: &[u8] = b"temporary keys of forwarder's emulators";

/// A temporary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// `STS.` with its end and a number.
    pub id: String,
    /// AccessKey secret.
    pub secret: String,
    /// Security token.
    pub token: String,
    /// When it expires, since the Unix epoch.
    pub end: Duration,
}

impl Issued {
    /// The key with this number that ends at `end`, to the second.
    #[must_use]
    pub fn new(number: u64, end: Duration) -> Self {
        Self::with(format!("STS.{:x}.{number}", end.as_secs()), Duration::from_secs(end.as_secs()))
    }

    /// The key with this ID, if one was ever given.
    #[must_use]
    pub fn recall(id: &str) -> Option<Self> {
        let (end, number) = id.strip_prefix("STS.")?.split_once('.')?;
        let _: u64 = number.parse().ok()?;
        let end = Duration::from_secs(u64::from_str_radix(end, 16).ok()?);
        Some(Self::with(id.to_owned(), end))
    }

    fn with(id: String, end: Duration) -> Self {
        let derived = |what: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(SEED).expect("HMAC accepts keys of any length");
            mac.update(what.as_bytes());
            mac.update(id.as_bytes());
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        Self { secret: derived("secret "), token: format!("CAIS{}+/==", derived("token ")), end, id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issued_key_is_recognized_by_its_id_alone() {
        let issued = Issued::new(7, Duration::from_millis(1_800_000_000_900));
        assert_eq!(Issued::recall(&issued.id), Some(issued.clone()));
        assert_ne!(issued.secret, Issued::new(8, issued.end).secret);
        for other in ["LTAI", "STS.", "STS.zz.1", "STS.1.x"] {
            assert_eq!(Issued::recall(other), None, "{other}");
        }
    }
}
