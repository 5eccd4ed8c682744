//! Log groups: from the protobuf of a pull to logs, and back for what is at hand.

mod decode;
pub mod flat;
pub mod proto;
mod sample;
mod wire;

pub use decode::{Log, LogPosition, Logs, check};
pub use sample::sample;
pub use wire::{PageError, PageFault};
