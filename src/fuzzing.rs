//! The door for the fuzz targets (`fuzz/`): what they call that is no part of the library's interface.
//!
//! Nothing else may use it, and nothing here is kept stable.

pub use crate::script::pattern::{Capture, Match, Matcher, PatternError, find_plain, is_plain};
pub use crate::script::stdlib::cef::{Header as CefHeader, encode as encode_cef};
pub use crate::script::stdlib::fields::Fields;
pub use crate::script::stdlib::leef::{Header as LeefHeader, Version as LeefVersion, encode as encode_leef};
pub use crate::script::stdlib::logfmt::encode as encode_logfmt;
