//! Log groups: decodes the protobuf of a pull into logs, and encodes single logs back.

mod decode;
mod field;
pub mod flat;
mod position;
pub mod proto;
mod sample;
mod wire;

pub use decode::{Log, Logs, check};
pub use position::LogPosition;
pub use sample::sample;
pub use wire::{PageError, PageFault};
