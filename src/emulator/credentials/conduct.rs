//! The behaviour of the services, and their counts.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::Config;

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The metadata service.
    Metadata,
    /// STS.
    Sts,
    /// The credential URI.
    Uri,
    /// Each of them.
    All,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialsFault {
    /// 403 `NoPermission`.
    Refuse,
    /// This status and code.
    Status {
        /// HTTP status.
        status: u16,
        /// Code of STS.
        #[serde(default)]
        code: String,
    },
    /// No answer.
    Hang,
    /// The returned key has already expired.
    Expired,
}

/// A change of the behaviour of the services. Absent fields change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Order {
    /// Clears all faults, before the rest is applied.
    pub clear: bool,
    /// The service with the fault; all if absent.
    pub on: Option<On>,
    /// A fault.
    pub fault: Option<CredentialsFault>,
    /// How often; until it is cleared if absent.
    pub times: Option<u32>,
    /// How long keys are valid from now on.
    pub life_seconds: Option<u64>,
    /// The role of the instance.
    pub role: Option<String>,
    /// Whether the metadata service answers without a token.
    pub v1: Option<bool>,
    /// Whether the metadata service gives tokens.
    pub v2: Option<bool>,
    /// How far the clock of the services is ahead of the machine's, in seconds.
    pub skew_seconds: Option<i64>,
}

/// The counts of requests so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests to the metadata service.
    pub metadata: u64,
    /// Requests to STS.
    pub sts: u64,
    /// Requests to the credential URI.
    pub uri: u64,
    /// Keys that were returned.
    pub issued: u64,
    /// Refused requests, including faults.
    pub refused: u64,
}

#[derive(Debug)]
pub(super) struct Conduct {
    faults: Vec<(On, CredentialsFault, Option<u32>)>,
    pub(super) life: Duration,
    pub(super) role: Option<String>,
    pub(super) v1: bool,
    pub(super) v2: bool,
    /// How far the clock of the services is ahead of the machine's, in seconds.
    pub(super) skew: i64,
    pub(super) counts: Counts,
    /// Numbers that calls to STS have used.
    pub(super) nonces: BTreeSet<String>,
}

/// The behaviour of an emulator. No panic can leave it inconsistent.
pub(super) fn lock(conduct: &Mutex<Conduct>) -> MutexGuard<'_, Conduct> {
    conduct.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Conduct {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            faults: Vec::new(),
            life: config.life,
            role: config.role.clone(),
            v1: true,
            v2: true,
            skew: 0,
            counts: Counts::default(),
            nonces: BTreeSet::new(),
        }
    }

    pub(super) fn order(&mut self, order: Order) {
        if order.clear {
            self.faults.clear();
            (self.v1, self.v2, self.skew) = (true, true, 0);
        }
        if let Some(fault) = order.fault {
            self.faults.push((order.on.unwrap_or(On::All), fault, order.times));
        }
        if let Some(seconds) = order.life_seconds {
            self.life = Duration::from_secs(seconds);
        }
        self.role = order.role.or(self.role.take());
        self.v1 = order.v1.unwrap_or(self.v1);
        self.v2 = order.v2.unwrap_or(self.v2);
        self.skew = order.skew_seconds.unwrap_or(self.skew);
    }

    /// The fault of this request, which is counted.
    pub(super) fn take(&mut self, on: On) -> Option<CredentialsFault> {
        match on {
            On::Metadata => self.counts.metadata += 1,
            On::Sts => self.counts.sts += 1,
            On::Uri => self.counts.uri += 1,
            On::All => {}
        }
        let at = self.faults.iter().position(|(where_, ..)| *where_ == on || *where_ == On::All)?;
        let (_, fault, times) = &mut self.faults[at];
        let fault = fault.clone();
        match times {
            None => {}
            Some(times) if *times > 1 => *times -= 1,
            Some(_) => drop(self.faults.remove(at)),
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_where_and_as_often_as_configured() {
        let mut conduct = Conduct::new(&Config::default());
        let order = r#"{"on":"sts","times":2,"fault":{"status":{"status":503}},"role":"other"}"#;
        conduct.order(serde_json::from_str(order).unwrap());
        assert_eq!(conduct.take(On::Metadata), None);
        assert!(conduct.take(On::Sts).is_some() && conduct.take(On::Sts).is_some());
        assert_eq!(conduct.take(On::Sts), None);
        assert_eq!((conduct.role.as_deref(), conduct.counts.sts), (Some("other"), 3));
        conduct.order(serde_json::from_str(r#"{"fault":"hang"}"#).unwrap());
        assert_eq!(
            (conduct.take(On::Uri), conduct.take(On::Uri)),
            (Some(CredentialsFault::Hang), Some(CredentialsFault::Hang))
        );
        conduct.order(Order { clear: true, ..Order::default() });
        assert_eq!(conduct.take(On::Uri), None);
        assert!(serde_json::from_str::<Order>(r#"{"fualt":"hang"}"#).is_err());
    }
}
