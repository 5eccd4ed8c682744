//! Reads from a forwarder that runs on this machine, over its admin listener.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::context::sources;
use crate::cli::output::note_problems;
use crate::core::printable::excerpt;
use crate::settings;
use crate::settings::{AdminListen, MAX_SOCKETS, socket_name};

/// How long a forwarder may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum bytes of the head of a reply, and of a body that is not a stream.
const MAX_HEAD: u64 = 16 << 10;
const MAX_BODY: u64 = 64 << 20;

/// The place at which a forwarder answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A Unix socket of this machine.
    Socket(PathBuf),
    /// A network address.
    Address(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Parses `unix:PATH` or an address and a port.
///
/// # Errors
/// The expected form.
pub(crate) fn place(text: &str) -> Result<Place, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(Place::Socket(path.into())),
        _ => text.parse().map(Place::Address).map_err(|_| "write unix:PATH, or an address and a port".to_owned()),
    }
}

/// The place of the forwarder with these settings: the socket that they name, else the one of the state directory, else
/// the address that they name.
///
/// # Errors
/// There is none, or there are several.
pub(crate) fn find(config: Option<&Path>) -> Result<Place, String> {
    let (config, environment) = sources(config);
    let admin = settings::admin(config.as_deref(), &environment);
    let (listen, state, problems) = admin.map_err(|error| error.to_string())?;
    note_problems(&problems);
    if let AdminListen::Socket(path) = listen {
        return Ok(Place::Socket(path));
    }
    let sockets = (1..=MAX_SOCKETS).map(|number| state.join(socket_name(number)));
    let mut answering: Vec<PathBuf> = sockets.filter(|path| UnixStream::connect(path).is_ok()).collect();
    match (answering.len(), listen) {
        (1, _) => Ok(Place::Socket(answering.remove(0))),
        (0, AdminListen::Tcp(address)) if address.port() != 0 => Ok(Place::Address(address)),
        (0, _) => Err(format!(
            "no forwarder answers in the state directory {}; give the --config that it runs with, run this as its user, or name its socket: \
             --connect unix:PATH (its log says where it is)",
            state.display()
        )),
        _ => {
            let all: Vec<String> = answering.into_iter().map(|path| Place::Socket(path).to_string()).collect();
            Err(format!("several forwarders run here: give --connect with one of {}", all.join(", ")))
        }
    }
}

/// A reply whose body has not been read yet.
pub(crate) struct Reply {
    /// 200 if the request succeeded.
    pub(crate) status: u16,
    /// The body, up to its end.
    pub(crate) body: BufReader<Box<dyn Read + Send>>,
}

impl Reply {
    /// The whole body.
    ///
    /// # Errors
    /// It does not arrive, or is too large.
    pub(crate) fn text(self) -> io::Result<String> {
        let mut text = String::new();
        self.body.take(MAX_BODY).read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Sends a GET request. Each read waits for `patience` at most, or without limit, as a stream requires.
///
/// # Errors
/// There is no answer, or it is not HTTP.
pub(crate) fn get(place: &Place, path: &str, patience: Option<Duration>) -> io::Result<Reply> {
    trait Stream: Read + Write + Send {}
    impl<T: Read + Write + Send> Stream for T {}
    let mut stream: Box<dyn Stream> = match place {
        Place::Socket(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(patience)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Box::new(stream)
        }
        Place::Address(address) => {
            let stream = TcpStream::connect_timeout(address, PATIENCE)?;
            stream.set_read_timeout(patience)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Box::new(stream)
        }
    };
    // In HTTP 1.0 the body ends with the connection, and is not chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")?;
    let mut body = BufReader::new(Box::new(stream) as Box<dyn Read + Send>);
    let mut head = String::new();
    let mut reading = (&mut body).take(MAX_HEAD);
    loop {
        let before = head.len();
        reading.read_line(&mut head)?;
        match &head[before..] {
            "" => return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is not HTTP")),
            "\r\n" => break,
            _ => {}
        }
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("the reply is not HTTP: {}", excerpt(&head)))
    })?;
    Ok(Reply { status, body })
}

/// The complete reply of the forwarder to a path.
///
/// # Errors
/// The reason, as text.
pub(crate) fn read(place: &Place, path: &str) -> Result<String, String> {
    let answer = get(place, path, Some(PATIENCE)).and_then(|reply| Ok((reply.status, reply.text()?)));
    match answer {
        Ok((200, text)) => Ok(text),
        Ok((status, text)) => Err(format!("the forwarder at {place} answers {status}: {}", excerpt(&text))),
        Err(error) => Err(format!("no forwarder answers at {place}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_place_is_a_socket_or_an_address() {
        assert_eq!(place("unix:/run/a.sock"), Ok(Place::Socket("/run/a.sock".into())));
        assert_eq!(place("127.0.0.1:9464").unwrap().to_string(), "127.0.0.1:9464");
        assert!(place("unix:").is_err() && place("localhost").is_err());
    }

    #[test]
    fn a_peer_that_does_not_speak_http_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::Address(listener.local_addr().unwrap());
        let answering =
            std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"220 hello\r\n\r\n").unwrap());
        let error = read(&place, "/status").unwrap_err();
        answering.join().unwrap();
        assert!(error.contains("answers") || error.contains("not HTTP"), "{error}");
    }
}
