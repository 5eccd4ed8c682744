//! The door for the fuzz targets (`fuzz/`): what they call that is no part of the library's interface.
//!
//! Nothing else may use it, and nothing here is kept stable.

pub use crate::script::pattern::{Capture, Match, Matcher, PatternError, find_plain, is_plain};
