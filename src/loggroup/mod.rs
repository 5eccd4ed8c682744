//! Log groups: decodes the protobuf of a pull into logs, and encodes single logs back.

mod decode;
pub mod flat;
pub mod proto;
mod sample;
mod wire;

pub use decode::{Log, LogPosition, Logs, check};
pub use sample::sample;
pub use wire::{PageError, PageFault};
