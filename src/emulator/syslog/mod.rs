//! A syslog receiver over TCP, TLS, UDP and RELP, with faults on demand.
//!
//! It behaves like a real process: when it dies, messages that it has read but not stored are lost, and the system
//! ends its connections, in order where everything was read and with a reset otherwise.

mod config;
mod faults;
mod frames;
mod serve;
mod tls;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use faults::{FaultError, ReceiverFault};

pub use config::{Config, Counts, Protocol, Tap};
use serve::ReceiverShared;

/// A running receiver. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct SyslogEmulator {
    address: SocketAddr,
    shared: Arc<ReceiverShared>,
    tasks: JoinSet<()>,
}

impl SyslogEmulator {
    /// Starts listening.
    ///
    /// # Errors
    /// The address cannot be bound, or a certificate cannot be used.
    pub async fn start(config: Config) -> io::Result<Self> {
        let (deaths, died) = watch::channel(None);
        let protocol = config.protocol;
        let at = config.address;
        let shared = Arc::new(ReceiverShared::new(config, deaths)?);
        let mut tasks = JoinSet::new();
        let address = if protocol == Protocol::Udp {
            let socket = UdpSocket::bind(at).await?;
            let address = socket.local_addr()?;
            tasks.spawn(serve::receive(socket, address, Arc::clone(&shared), died));
            address
        } else {
            let listener = TcpListener::bind(at).await?;
            let address = listener.local_addr()?;
            tasks.spawn(serve::listen(listener, address, Arc::clone(&shared), died));
            address
        };
        tasks.spawn(serve::write_down(Arc::clone(&shared)));
        Ok(Self { address, shared, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The last stored messages, oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.shared.state().kept.iter().cloned().collect()
    }

    /// The counts since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// A handle to control faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults { shared: Arc::clone(&self.shared) }
    }

    /// Stops listening and cuts all connections.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// The faults of a [`SyslogEmulator`]. Clones control the same one.
#[derive(Debug, Clone)]
pub struct Faults {
    shared: Arc<ReceiverShared>,
}

impl Faults {
    /// Adds this fault to the current ones.
    pub fn add(&self, fault: ReceiverFault) {
        self.shared.state().faults.push(fault);
    }

    /// Clears all faults.
    pub fn clear(&self) {
        self.shared.state().faults.clear();
    }

    /// The receiver dies, as if by SIGKILL, and restarts after this time.
    pub fn die_for(&self, duration: Duration) {
        self.shared.die(duration);
    }

    /// All connections are reset; the receiver keeps running.
    pub fn reset_all(&self) {
        self.shared.reset_all();
    }
}
