//! The fuzz targets: each takes any bytes, and panics if the program breaks a promise for them.
//!
//! libFuzzer calls them through `targets/`, and `cargo test` through `tests/forwarder/corpus.rs`.

mod hec_reply;
mod input;
mod lua_event;
mod pattern;
mod pull_body;
pub mod rfc3164;
pub mod rfc5424;
mod siem_line;
mod sls_reply;
pub mod syslog_message;

pub use hec_reply::hec_reply;
pub use lua_event::lua_event;
pub use pattern::pattern;
pub use pull_body::pull_body;
pub use siem_line::{check_lines, siem_line};
pub use sls_reply::sls_reply;
pub use syslog_message::syslog_message;
