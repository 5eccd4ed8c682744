//! The status of a destination at one moment.

use super::{Figures, Gauge, Health, Promise};
use crate::core::certificates::CertificateEnds;
use crate::core::destination_account::EventCounts;
use crate::core::destination_name::DestinationName;

/// The status of a destination at one moment.
#[derive(Debug, Clone)]
pub struct DestinationStatus {
    /// Its name.
    pub name: DestinationName,
    /// Its address, without secrets.
    pub address: String,
    /// What *delivered* means there.
    pub promise: Promise,
    /// Its health.
    pub health: Health,
    /// Its mode if it is isolated; otherwise `None`.
    pub isolation: Option<IsolationMode>,
    /// Why the events that it missed cannot be replayed at present.
    pub replay_fault: Option<String>,
    /// Whether it gets copies of dead letters.
    pub gets_copies: bool,
    /// When its certificate ends, and ours.
    pub certificates: CertificateEnds,
    /// The counts of its events.
    pub events: EventCounts,
    /// Its counts and measurements.
    pub figures: Figures,
    /// Its gauges.
    pub gauges: Vec<Gauge>,
    /// Its warnings.
    pub warnings: Vec<String>,
}

/// The mode of an isolated destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationMode {
    /// Events are delivered directly; they wait in memory while it is down.
    Direct,
    /// Events become dead letters.
    DeadLettering,
    /// Missed events are delivered, and newer ones after them.
    Returning,
}

/// The destination in a sentence: with its name if there are several.
#[must_use]
pub fn called(name: &DestinationName, is_alone: bool) -> String {
    if is_alone { "the destination".to_owned() } else { format!("the destination {name}") }
}
