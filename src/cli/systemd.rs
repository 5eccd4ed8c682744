//! Notifications to systemd for a unit of `Type=notify`: ready, status, and watchdog.
//!
//! The protocol: lines such as `READY=1` in a datagram to the Unix socket that `NOTIFY_SOCKET` names, a path or, after
//! an `@`, an abstract name; `WATCHDOG_USEC` is the silence after which the unit is restarted (sd_notify(3),
//! sd_watchdog_enabled(3)).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::core::printable::excerpt;

/// The service manager that started the program, if it expects notifications.
#[derive(Debug)]
pub(super) struct Systemd {
    socket: UnixDatagram,
    /// Time between two watchdog notifications.
    beat: Option<Duration>,
}

impl Systemd {
    /// From the environment; `None` if no notifications are expected.
    pub(super) fn of_environment() -> Option<Self> {
        let name = std::env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty())?;
        let limit = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let is_ours = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        Self::at(&name, limit.filter(|_| is_ours).map(Duration::from_micros))
            .inspect_err(|error| tracing::warn!("cannot report the state to systemd: {name}: {error}"))
            .ok()
    }

    fn at(name: &str, watchdog: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match name.strip_prefix('@') {
            #[cfg(target_os = "linux")]
            Some(name) => {
                use std::os::linux::net::SocketAddrExt as _;

                socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?;
            }
            _ => socket.connect(name)?,
        }
        socket.set_nonblocking(true)?;
        // Twice as often as required, so that one late notification has no effect.
        Ok(Self { socket, beat: watchdog.map(|limit| limit / 2) })
    }

    /// Settings and script are valid, and the work begins.
    pub(super) fn ready(&self) {
        self.notify("READY=1\nSTATUS=running");
    }

    /// The last logs are being delivered.
    pub(super) fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=stopping: delivering and saving logs in flight");
    }

    /// Sends each change of the headline as the status of the unit; never returns.
    pub(super) async fn follow(&self, mut headline: watch::Receiver<String>) {
        while headline.changed().await.is_ok() {
            // A cause may contain text of a server, and a second line would be a notification of its own.
            let text = excerpt(&headline.borrow_and_update());
            self.notify(&format!("STATUS={text}"));
        }
        std::future::pending().await
    }

    /// Sends watchdog notifications as long as the runtime runs; never returns.
    pub(super) async fn live(&self) {
        let Some(beat) = self.beat.filter(|beat| !beat.is_zero()) else { return std::future::pending().await };
        let mut beats = interval(beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.notify("WATCHDOG=1");
        }
    }

    /// A manager that does not listen is ignored.
    fn notify(&self, text: &str) {
        let _ = self.socket.send(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut text = [0; 200];
        let length = listener.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn systemd_is_notified_of_ready_watchdog_and_stopping() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let systemd = Systemd::at(path.to_str().unwrap(), Some(Duration::from_secs(30))).unwrap();
        systemd.ready();
        assert_eq!(heard(&listener), "READY=1\nSTATUS=running");
        let _ = tokio::time::timeout(Duration::from_secs(31), systemd.live()).await;
        assert_eq!([heard(&listener), heard(&listener), heard(&listener)], ["WATCHDOG=1"; 3]);
        systemd.stopping();
        assert!(heard(&listener).starts_with("STOPPING=1\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_of_the_unit_follows_the_headline_on_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let systemd = Systemd::at(path.to_str().unwrap(), None).unwrap();
        let headline = watch::Sender::<String>::default();
        let changes = async {
            for text in ["Delivering", "Paused: refused\nSTOPPING=1"] {
                headline.send_replace(text.to_owned());
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = systemd.follow(headline.subscribe()) => panic!("it ended"),
            () = changes => {}
        }
        assert_eq!(heard(&listener), "STATUS=Delivering");
        assert_eq!(heard(&listener), "STATUS=Paused: refused\\nSTOPPING=1");
        listener.set_nonblocking(true).unwrap();
        assert!(listener.recv(&mut [0]).is_err(), "nothing else was sent");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_name_that_begins_with_an_at_sign_is_abstract() {
        use std::os::linux::net::SocketAddrExt as _;

        let name = format!("forwarder-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        Systemd::at(&format!("@{name}"), None).unwrap().ready();
        assert!(heard(&listener).starts_with("READY=1"));
    }
}
