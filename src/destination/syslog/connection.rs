//! One connection: writes bytes, watches for its end, and closes it in a way that proves that every byte was read.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_native_tls::TlsStream;

use super::socket;
use crate::core::lease::Tenure;

/// How long acknowledgements may arrive after the peer's end.
const LATE_ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to read data from the peer before we end our side.
const READ_BACK_PAUSE: Duration = Duration::from_millis(100);

/// The error of a connection that its peer ended.
pub(super) const CLOSED_BY_RECEIVER: &str = "the receiver closed the connection";

/// A connection, plain or inside TLS.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    peer: SocketAddr,
}

#[derive(Debug)]
enum Stream {
    Plain(Watched),
    Tls(Box<TlsStream<Watched>>),
}

/// The result of a turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// This many bytes were written.
    Wrote(usize),
    /// The peer sent these bytes.
    Read(usize),
    /// The peer ended its side, in order.
    Ended,
    /// The connection is broken.
    Failed(io::Error),
}

/// The result of a close.
#[derive(Debug)]
pub(super) enum Closed {
    /// The peer read every byte: it answered our end with its own, and acknowledged everything.
    Proven,
    /// Every byte was acknowledged without an error, but the peer did not prove that it has read them.
    Unproven(&'static str),
    /// The peer does not read the data.
    Stalled,
    /// Bytes may be lost.
    Broken(io::Error),
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, peer: SocketAddr) -> Self {
        Self { stream: Stream::Plain(Watched::new(stream)), peer }
    }

    pub(super) fn tls(stream: TlsStream<Watched>, peer: SocketAddr) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), peer }
    }

    /// The address of the peer.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn watched(&self) -> &Watched {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().get_ref().get_ref(),
        }
    }

    /// The socket below.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.watched().inner
    }

    /// Whether every byte written so far was acknowledged; true if the system does not report it.
    pub(super) fn is_acked(&self) -> bool {
        socket::acked(self.socket()).is_none_or(|acked| acked >= self.watched().written)
    }

    /// Whether even our end was acknowledged, so that the peer's system is reachable and knows it. In TLS our end is
    /// a record, and the end of the stream follows only after the answer.
    fn is_end_acked(&self) -> bool {
        let end = u64::from(matches!(self.stream, Stream::Plain(_)));
        socket::acked(self.socket()).is_none_or(|acked| acked >= self.watched().written + end)
    }

    /// Whether the peer keeps the connection open for this time. Data that it sends is ignored.
    pub(super) async fn lives_on(&mut self, lag: Duration) -> bool {
        let until = Instant::now() + lag;
        loop {
            match timeout_at(until, self.turn(&mut [0; 512], &[])).await {
                Ok(Turn::Read(_) | Turn::Wrote(_)) => {}
                Ok(Turn::Ended | Turn::Failed(_)) => return false,
                // Data that arrived while this task did not run is known only to the kernel.
                Err(_) => return self.is_quiet(),
            }
        }
    }

    /// Whether the peer has sent nothing, not even an end.
    pub(super) fn is_quiet(&self) -> bool {
        socket::is_quiet(self.socket())
    }

    /// Ends it at once; what the kernel has not sent yet is not sent.
    pub(super) fn abort(self) {
        socket::reset_on_drop(self.socket());
    }

    /// Whether a started write must be continued, because a TLS record is partly written.
    pub(super) fn is_bound(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Waits for the first of these: a read into `buffer`, or a write of some of `out`. The peer's end is noticed
    /// before anything is written. May be cancelled if the next turn continues with the same bytes.
    pub(super) async fn turn(&mut self, buffer: &mut [u8], out: &[u8]) -> Turn {
        self.turn_under(None, buffer, out).await
    }

    /// The same, but checks the tenure right before every write: nothing is written after it has ended.
    pub(super) async fn turn_under(&mut self, tenure: Option<&Tenure>, buffer: &mut [u8], out: &[u8]) -> Turn {
        poll_fn(|cx| {
            let mut read = ReadBuf::new(buffer);
            match self.stream.poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => return Poll::Ready(Turn::Ended),
                Poll::Ready(Ok(())) => return Poll::Ready(Turn::Read(read.filled().len())),
                Poll::Ready(Err(error)) => return Poll::Ready(Turn::Failed(error)),
                Poll::Pending => {}
            }
            if out.is_empty() || tenure.is_some_and(|tenure| !tenure.holds()) {
                return Poll::Pending;
            }
            match ready!(self.stream.poll_write(cx, out)) {
                Ok(0) => Poll::Ready(Turn::Failed(io::ErrorKind::WriteZero.into())),
                Ok(count) => Poll::Ready(Turn::Wrote(count)),
                Err(error) => Poll::Ready(Turn::Failed(error)),
            }
        })
        .await
    }

    /// Ends our side and waits until the peer has ended its own.
    ///
    /// The peer's end proves that it read every byte, if it did not come before ours, if everything was acknowledged
    /// after it, and, inside TLS, if it is the authenticated `close_notify` (RFC 8446 section 6.1).
    pub(super) async fn close(mut self, patience: Duration) -> Closed {
        let until = Instant::now() + READ_BACK_PAUSE;
        while !self.is_quiet() {
            // An end before ours is not an answer to it. Session tickets and similar records are ignored.
            match timeout_at(until, self.turn(&mut [0; 512], &[])).await {
                Ok(Turn::Ended) => return Closed::Broken(aborted(CLOSED_BY_RECEIVER)),
                Ok(Turn::Failed(error)) => return Closed::Broken(error),
                Ok(Turn::Read(_) | Turn::Wrote(_)) => {}
                Err(_) if self.is_quiet() => {}
                Err(_) => return Closed::Broken(aborted("the receiver sends endless data")),
            }
        }
        match timeout_at(Instant::now() + patience, self.shut()).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(unproven))) => return self.unproven(unproven).await,
            Ok(Err(error)) => return Closed::Broken(error),
            Err(_) if self.is_end_acked() => {
                return self.unproven("it does not close its side of the connection").await;
            }
            Err(_) => return Closed::Stalled,
        }
        match self.all_acked().await {
            Ok(()) if socket::REPORTS_ACKED => Closed::Proven,
            Ok(()) => Closed::Unproven("this operating system does not report what was acknowledged"),
            Err(error) => Closed::Broken(error),
        }
    }

    async fn unproven(&self, why: &'static str) -> Closed {
        match self.all_acked().await {
            Ok(()) => Closed::Unproven(why),
            Err(error) => Closed::Broken(error),
        }
    }

    /// Ends our side and reads the peer's end. `Some`: why that end is not a proof.
    async fn shut(&mut self) -> io::Result<Option<&'static str>> {
        let mut unproven = None;
        if let Stream::Tls(stream) = &mut self.stream {
            poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await?;
            let drained = drain(stream).await;
            // The library may report the end of the stream without close_notify as a regular end; the data that was
            // read distinguishes them.
            if stream.get_ref().get_ref().get_ref().ended {
                unproven = Some("it closes TLS connections without close_notify");
            } else {
                drained?;
            }
        }
        let raw = match &mut self.stream {
            Stream::Plain(raw) => raw,
            Stream::Tls(stream) => stream.get_mut().get_mut().get_mut(),
        };
        poll_fn(|cx| Pin::new(&mut raw.inner).poll_shutdown(cx)).await?;
        if !raw.ended {
            drain(raw).await?;
        }
        Ok(unproven)
    }

    async fn all_acked(&self) -> io::Result<()> {
        let until = Instant::now() + LATE_ACK_TIMEOUT;
        while !self.is_acked() {
            if Instant::now() >= until {
                return Err(aborted("the receiver closed the connection before it had read everything"));
            }
            sleep(Duration::from_millis(5)).await;
        }
        socket::pending_error(self.socket()).map_or(Ok(()), Err)
    }
}

fn aborted(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}

async fn drain(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut bytes = [0; 512];
    loop {
        let mut buffer = ReadBuf::new(&mut bytes);
        poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer)).await?;
        if buffer.filled().is_empty() {
            return Ok(());
        }
    }
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }
}

/// A socket that counts written bytes and remembers whether the peer ended its side.
#[derive(Debug)]
pub(super) struct Watched {
    inner: TcpStream,
    written: u64,
    ended: bool,
}

impl Watched {
    pub(super) fn new(inner: TcpStream) -> Self {
        Self { inner, written: 0, ended: false }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.written += count as u64;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::core::lease::Lease;
    use crate::core::stop::stop;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let stream = TcpStream::connect(peer).await.unwrap();
        (Connection::plain(stream, peer), listener.accept().await.unwrap().0)
    }

    /// The result of a close, after five bytes, with a peer that reads to the end and then ends its side.
    async fn closed(forge: impl FnOnce(&mut Watched)) -> Closed {
        let (mut connection, mut peer) = pair().await;
        assert!(matches!(connection.turn(&mut [0; 8], b"bytes").await, Turn::Wrote(5)));
        let Stream::Plain(watched) = &mut connection.stream else { unreachable!("it is plain") };
        forge(watched);
        let reading = async {
            peer.read_to_end(&mut Vec::new()).await.unwrap();
            drop(peer);
        };
        tokio::join!(connection.close(PATIENCE), reading).0
    }

    #[tokio::test]
    async fn an_end_of_stream_in_answer_to_ours_is_a_proof() {
        assert!(matches!(closed(|_| ()).await, Closed::Proven));
    }

    // Fails if `all_acked` does not look at what was acknowledged.
    #[tokio::test]
    async fn an_end_of_stream_without_every_byte_acknowledged_is_no_proof() {
        // One byte more than the peer's system can have acknowledged: the acknowledgement of our end counts as one.
        assert!(matches!(closed(|watched| watched.written += 2).await, Closed::Broken(_)));
    }

    #[tokio::test]
    async fn an_end_of_stream_before_ours_is_no_proof() {
        let (mut connection, peer) = pair().await;
        drop(peer);
        assert!(!connection.lives_on(PATIENCE).await);
        assert!(matches!(connection.close(PATIENCE).await, Closed::Broken(_)));
    }

    #[tokio::test]
    async fn an_unanswered_end_of_stream_is_no_proof() {
        let (connection, _peer) = pair().await;
        assert!(matches!(connection.close(Duration::from_millis(50)).await, Closed::Unproven(_)));
    }

    // Fails if the tenure is not asked.
    #[tokio::test]
    async fn nothing_is_written_once_the_tenure_has_ended() {
        let (mut connection, peer) = pair().await;
        let lease = Lease::lapsed(Instant::now());
        lease.extend(Instant::now() + PATIENCE);
        let (stopper, over) = stop();
        let tenure = Tenure::new(lease, over);
        assert!(matches!(connection.turn_under(Some(&tenure), &mut [0; 8], b"a").await, Turn::Wrote(1)));
        stopper.raise();
        let until = Instant::now() + Duration::from_millis(50);
        assert!(timeout_at(until, connection.turn_under(Some(&tenure), &mut [0; 8], b"b")).await.is_err());
        let mut got = [0; 8];
        peer.readable().await.unwrap();
        assert_eq!(peer.try_read(&mut got).unwrap(), 1);
    }
}
