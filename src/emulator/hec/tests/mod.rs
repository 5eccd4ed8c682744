//! The behaviour that a client of the collector may rely on.

mod replies;
mod sockets;

const TOKEN: &str = "11111111-2222-3333-4444-555555555555";
