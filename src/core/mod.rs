//! The words of the program, and what every part may rely on: no part of it knows a source, a script or a destination.

pub mod backoff;
pub mod batch;
pub mod budget;
pub mod cause;
pub mod count;
pub mod cursor;
pub mod destination_account;
pub mod destination_name;
pub mod drop_reasons;
pub mod duration;
pub mod env_proxy;
pub mod event;
pub mod failing;
pub mod histogram;
pub mod lease;
pub mod ledger;
pub mod line_file;
pub mod name;
pub mod named_file;
pub mod named_socket;
pub mod no_proxy;
pub mod page;
pub mod printable;
pub mod priority;
pub mod reread;
pub mod retry_log;
pub mod said_causes;
pub mod secret;
pub mod source;
pub mod state_dir;
pub mod stop;
#[cfg(test)]
pub(crate) mod test_log;
pub mod timings;
pub mod tls_fault;
pub mod tls_files;
