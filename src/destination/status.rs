//! How a destination does at one moment, with all that is told of it.

use super::{Figures, Gauge, Health, Promise};
use crate::core::certificates::CertificateEnds;
use crate::core::destination_account::EventCounts;
use crate::core::destination_name::DestinationName;

/// How a destination does at one moment.
#[derive(Debug, Clone)]
pub struct DestinationStatus {
    /// Which one.
    pub name: DestinationName,
    /// Where it is, without secrets.
    pub address: String,
    /// What *delivered* means there.
    pub promise: Promise,
    /// How it does.
    pub health: Health,
    /// How it gets its events when it is isolated; none for one that all wait for.
    pub isolation: Option<IsolationMode>,
    /// When its certificate ends, and ours.
    pub certificates: CertificateEnds,
    /// What became of its events.
    pub events: EventCounts,
    /// What it has counted and measured.
    pub figures: Figures,
    /// What it holds.
    pub gauges: Vec<Gauge>,
    /// What slows it although it is up.
    pub warnings: Vec<String>,
}

/// How an isolated destination gets its events at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationMode {
    /// As they come; they wait in memory while it is down.
    Direct,
    /// Not at all: they become dead letters.
    Aside,
    /// What it missed is delivered; newer events wait in memory behind that.
    Returning,
}

/// What a destination is called in a sentence: its name is worth saying where there are several.
#[must_use]
pub fn called(name: &DestinationName, is_alone: bool) -> String {
    if is_alone { "the destination".to_owned() } else { format!("the destination {name}") }
}
