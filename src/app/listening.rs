//! Where the process serves its status: the address in the settings, and a Unix socket for commands on this machine.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpListener, UnixListener};
use tracing::{info, warn};

use super::error::Error;
use crate::core::named_socket::NamedSocket;
use crate::core::state_dir::StateDir;
use crate::settings::{AdminListen, MAX_SOCKETS, socket_name};

/// The open listeners.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) tcp: Option<TcpListener>,
    pub(super) unix: Option<UnixListener>,
    /// Keeps the name of the socket.
    pub(super) socket: Option<NamedSocket>,
}

impl Listening {
    /// Starts listening, and logs where.
    ///
    /// # Errors
    /// An address or socket in the settings cannot be opened.
    pub(super) async fn open(wanted: &AdminListen, state: &StateDir) -> Result<Self, Error> {
        let refused = |place: &str, error: io::Error, fix: &str| {
            Error::Settings(format!("can't listen on {place}: {error}; give admin.listen {fix}"))
        };
        let tcp = match wanted {
            AdminListen::Tcp(address) => {
                let address = address.to_string();
                let refused = |error| refused(&address, error, "an address of this machine and a free port");
                let listener = TcpListener::bind(&address).await.map_err(refused)?;
                let address = listener.local_addr().map_err(refused)?;
                info!(
                    "status page at http://{address}/, Prometheus metrics at http://{address}/metrics; no authentication: bind it to localhost"
                );
                Some(listener)
            }
            AdminListen::Default | AdminListen::Socket(_) => None,
        };
        let socket = match wanted {
            AdminListen::Socket(path) => Some(NamedSocket::bind(path).map_err(|error| {
                refused(&format!("unix:{}", path.display()), error, "another path in a directory of ours alone")
            })?),
            AdminListen::Default | AdminListen::Tcp(_) => in_state(state).unwrap_or_else(|(path, error)| {
                warn!(
                    "forwarder top and forwarder tap cannot reach this process: no socket at {}: {error}; set state.dir to \
                     another directory, or admin.listen = \"unix:PATH\"",
                    path.display()
                );
                None
            }),
        };
        let unix = match &socket {
            Some(socket) => {
                info!("forwarder top and forwarder tap reach this process at unix:{}", socket.path().display());
                let listener = socket.listener().and_then(UnixListener::from_std);
                Some(listener.map_err(|error| Error::Internal(format!("the socket cannot be used: {error}")))?)
            }
            None => None,
        };
        Ok(Self { tcp, unix, socket })
    }

    /// The address that it listens on: the one in the settings, with the port that was chosen for port 0.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }
}

/// The first free socket of the state directory; none without one.
fn in_state(state: &StateDir) -> Result<Option<NamedSocket>, (PathBuf, io::Error)> {
    for number in 1..=MAX_SOCKETS {
        let Some(path) = state.path(&socket_name(number)) else { return Ok(None) };
        match NamedSocket::bind(&path) {
            Ok(socket) => return Ok(Some(socket)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && number < MAX_SOCKETS => {}
            Err(error) => return Err((path, error)),
        }
    }
    Ok(None)
}
