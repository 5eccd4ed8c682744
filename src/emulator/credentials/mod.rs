//! Emulates the providers of temporary keys: the metadata service of ECS (versions 1 and 2), STS (`AssumeRole`,
//! `AssumeRoleWithOIDC`) and a credential URI, all on one port, with faults on request.
//!
//! The SLS emulator accepts its keys until they expire ([`super::sls::Config::issued`]).

mod answer;
mod conduct;
mod config;
mod refused;
mod serve;
mod verify;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use conduct::{Conduct, lock};
pub use conduct::{Counts, CredentialsFault, On, Order};
pub use config::Config;

/// A running emulator. It ends when it is dropped.
#[derive(Debug)]
pub struct CredentialsEmulator {
    address: SocketAddr,
    conduct: Arc<Mutex<Conduct>>,
    tasks: JoinSet<()>,
}

impl CredentialsEmulator {
    /// Starts listening.
    ///
    /// # Errors
    /// The address is in use, or not of this machine.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let conduct = Arc::new(Mutex::new(Conduct::new(&config)));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve::serve(listener, Arc::new(config), Arc::clone(&conduct)));
        Ok(Self { address, conduct, tasks })
    }

    /// Base URL of all its services.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Applies an order, as `POST /_emulator/faults` does.
    pub fn order(&self, order: Order) {
        lock(&self.conduct).order(order);
    }

    /// The counts of requests so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.conduct).counts
    }

    /// Ends every connection and waits until they are gone.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
