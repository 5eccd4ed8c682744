//! Unix sockets that we listen on: accessible only to this user, and never replacing one that another process listens
//! on.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::line_file::beside;
use super::named_file;

/// Maximum number of clients that wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket that we listen on. Dropping it removes its path.
#[derive(Debug)]
pub struct NamedSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Held as long as the socket exists, so that two processes never remove each other's socket.
    _lock: File,
}

impl NamedSocket {
    /// Listens at `path`. The mode is 0600 before the first client can connect. Replaces the socket of a process that
    /// has ended.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`]: another process already listens there. The system's; the path exists and is not
    /// a socket; the path is too long for a socket; or others can replace files in its directory.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let address = SockAddr::unix(path).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path is too long for a socket: about 100 bytes are allowed",
            )
        })?;
        named_file::create_dir(dir)?;
        named_file::check_dir(dir)?;
        let in_use = || io::Error::new(io::ErrorKind::AddrInUse, "another process already listens there");
        let lock = named_file::lock(&beside(path, "lock"))?.ok_or_else(in_use)?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it already exists, and is not a socket"));
            }
            Ok(_) if answers(&address)? => return Err(in_use()),
            Ok(_) => fs::remove_file(path)?,
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&address)?;
        // No client can connect before `listen`.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self { listener: socket.into(), path: path.to_owned(), _lock: lock })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same socket for an async runtime: it does not block.
    ///
    /// # Errors
    /// The system's.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for NamedSocket {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

/// Whether a process listens there, even if its queue is full.
fn answers(address: &SockAddr) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_is_accessible_to_its_owner_only_and_removed_with_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/s.sock");
        let socket = NamedSocket::bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        assert_eq!(NamedSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
        NamedSocket::bind(&path).unwrap();
    }

    #[test]
    fn only_a_socket_without_a_listener_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let others = UnixListener::bind(&path).unwrap();
        assert_eq!(NamedSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        drop(others);
        assert!(path.exists(), "what a killed process leaves");
        drop(NamedSocket::bind(&path).unwrap());

        fs::write(&path, "x").unwrap();
        assert!(NamedSocket::bind(&path).unwrap_err().to_string().contains("is not a socket"));
        assert_eq!(fs::read(&path).unwrap(), b"x");
        let long = dir.path().join("x".repeat(120));
        assert!(NamedSocket::bind(&long).unwrap_err().to_string().contains("too long"));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(NamedSocket::bind(&dir.path().join("t.sock")).unwrap_err().to_string().contains("chmod o-w"));
    }
}
