//! One message per datagram (RFC 5426). There is no proof: delivered means sent.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout};

use super::Framing;
use super::dial::ConnectFault;
use super::format::first_frame;
use super::jobs::Jobs;
use super::session::Session;
use super::shared::SyslogShared;
use super::window::Id;
use crate::core::batch::Output;
use crate::core::cause::Cause;

/// Burst after a pause, as a fraction of a second.
const BURST_DIVISOR: u32 = 100;

/// How long after the last datagram to wait for an ICMP error of the receiver's system.
const ICMP_WAIT: Duration = Duration::from_millis(10);

/// Runs until the destination is dropped.
pub(super) async fn run(shared: &SyslogShared, jobs: Jobs, rate: u32, max_datagram: usize) {
    let mut line = Session::new(shared, jobs);
    let mut pace = Pace::new(rate, Instant::now());
    let mut socket: Option<UdpSocket> = None;
    let mut tries = 0;
    while let Some((id, batch)) = line.next_batch().await {
        let mut place = Unsent { event: 0, bytes: batch.events.range(0) };
        while place.event < batch.events.len() {
            line.began = Instant::now();
            let sent = match &socket {
                Some(socket) => send(&mut line, socket, id, &batch, &mut place, &mut pace, max_datagram).await,
                None => connect(&line, tries).await.map(|connected| socket = Some(connected)),
            };
            let Err(fault) = sent else {
                if line.jobs.get(id).is_none() {
                    break;
                }
                continue;
            };
            socket = None;
            tries += 1;
            let now = Instant::now();
            fault.report(&shared.health, line.began, now);
            let until = now + line.backoff.next(None);
            // If there is another target, there is no need to wait.
            if line.targets.unreachable(now) && !line.wait_until(until).await {
                return;
            }
            line.reap();
            if line.jobs.get(id).is_none() {
                break;
            }
        }
        if line.jobs.get(id).is_some() && place.event == batch.events.len() {
            line.up();
            line.backoff.reset();
            line.jobs.finish(id);
        }
        line.window.forget(id);
    }
}

/// The next position in a batch.
struct Unsent {
    event: usize,
    /// The rest of that event.
    bytes: std::ops::Range<usize>,
}

/// Sends the batch from `place` on, until it is complete or its tenure has ended.
async fn send(
    line: &mut Session<'_>,
    socket: &UdpSocket,
    id: Id,
    batch: &Arc<Output>,
    place: &mut Unsent,
    pace: &mut Pace,
    max_datagram: usize,
) -> Result<(), ConnectFault> {
    while place.event < batch.events.len() {
        if let Some(until) = pace.wait(Instant::now()) {
            sleep_until(until).await;
            continue;
        }
        if !line.jobs.get(id).is_some_and(|job| job.tenure.holds()) {
            line.abandon(id);
            return Ok(());
        }
        let (message, length) = first_frame(&batch.events.bytes()[place.bytes.clone()], Framing::Octet);
        let sent = if message.len() > max_datagram { Err(too_long()) } else { socket.send(message).await.map(|_| ()) };
        match sent {
            Ok(()) => place.bytes.start += length,
            Err(error) if is_too_long(&error) => {
                let reason = format!("its message of {} bytes does not fit into a datagram", message.len());
                line.jobs.reject(id, place.event, reason);
                place.bytes.start = place.bytes.end;
            }
            Err(error) => return Err(ConnectFault::Down(refused(line, &error))),
        }
        pace.spend();
        if place.bytes.is_empty() {
            if place.event + 1 == batch.events.len()
                && let Err(fault) = heard_nothing(line, socket).await
            {
                place.bytes = batch.events.range(place.event);
                return Err(fault);
            }
            place.event += 1;
            if place.event < batch.events.len() {
                place.bytes = batch.events.range(place.event);
            }
        }
    }
    Ok(())
}

/// A closed port is reported only after a datagram was sent to it; this waits for the report, so that a single batch
/// notices it too.
async fn heard_nothing(line: &Session<'_>, socket: &UdpSocket) -> Result<(), ConnectFault> {
    if line.has_more() {
        return Ok(());
    }
    match timeout(ICMP_WAIT, socket.recv(&mut [0; 1])).await {
        Ok(Err(error)) => Err(ConnectFault::Down(refused(line, &error))),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

fn refused(line: &Session<'_>, error: &io::Error) -> Cause {
    let hint = (error.kind() == io::ErrorKind::ConnectionRefused).then_some("nothing listens on this UDP port");
    Cause { what: format!("{}: {error}", line.target()), hint }
}

fn too_long() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

fn is_too_long(error: &io::Error) -> bool {
    #[cfg(unix)]
    let too_long = error.raw_os_error() == Some(libc::EMSGSIZE);
    #[cfg(not(unix))]
    let too_long = false;
    too_long || error.kind() == io::ErrorKind::FileTooLarge
}

/// A socket connected to its receiver, so that it gets ICMP errors. Every try uses the next address of the name,
/// because a wrong address is noticed only by sending.
async fn connect(line: &Session<'_>, tries: usize) -> Result<UdpSocket, ConnectFault> {
    let addresses = line.shared.dial.lookup(line.target()).await?;
    let address = addresses[tries % addresses.len()];
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let connected = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        Ok(socket)
    };
    connected.await.map_err(|error: io::Error| ConnectFault::Down(Cause::new(format!("{}: {error}", line.target()))))
}

/// A token bucket: this many messages per second, in bursts of a hundredth of that.
#[derive(Debug)]
struct Pace {
    each: Duration,
    burst: Duration,
    /// When everything sent so far would have been sent at the even rate.
    paid_until: Instant,
}

impl Pace {
    fn new(rate: u32, now: Instant) -> Self {
        let each = Duration::from_secs(1) / rate.max(1);
        Self { each, burst: (each * (rate / BURST_DIVISOR)).max(each), paid_until: now }
    }

    /// When the next message may be sent; `None` means at once.
    fn wait(&mut self, now: Instant) -> Option<Instant> {
        self.paid_until = self.paid_until.max(now);
        let ahead = self.paid_until - now;
        (ahead >= self.burst).then(|| now + ahead - self.burst / 2)
    }

    fn spend(&mut self) {
        self.paid_until += self.each;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_the_rate_and_a_burst_are_sent_per_second() {
        for rate in [1, 50, 1_000, 100_000] {
            let start = Instant::now();
            let mut pace = Pace::new(rate, start);
            let (mut now, mut sent) = (start, 0);
            while now < start + Duration::from_secs(1) {
                match pace.wait(now) {
                    Some(until) => now = until,
                    None => {
                        pace.spend();
                        sent += 1;
                    }
                }
            }
            assert!((rate..=rate + rate / BURST_DIVISOR + 1).contains(&sent), "{sent} at {rate} a second");
        }
    }
}
