//! Socket options and state beyond reading and writing.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How long written bytes may stay unacknowledged, or a full receiver silent, before the connection is closed. Without
/// it, a vanished peer is noticed after a quarter of an hour.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Sets the options of every stream: a vanished peer is noticed within half a minute, busy or idle, and data is sent at
/// once.
pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// Whether the system reports how many bytes the peer acknowledged. If not, a close proves nothing.
pub(super) const REPORTS_ACKED: bool = cfg!(target_os = "linux");

/// The number of our bytes that the peer's kernel has acknowledged. The SYN does not count; the FIN, which comes after
/// all bytes, does. `None` if the system does not report it.
///
/// After a reset, the send queue is empty although bytes were lost; this count is still correct.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library in use reads TCP_INFO")]
pub(super) fn acked(stream: &TcpStream) -> Option<u64> {
    use std::os::fd::AsRawFd as _;

    /// `tcpi_bytes_acked` of `struct tcp_info` in linux/tcp.h, available since Linux 4.1.
    const BYTES_ACKED: usize = 120;
    let mut info = [0_u8; 256];
    let mut len = libc::socklen_t::try_from(info.len()).expect("256 fits");
    // SAFETY: the pointers are to live memory of the sizes given, and the kernel writes no more than `len` bytes.
    let failed = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    if failed != 0 || (len as usize) < BYTES_ACKED + 8 {
        return None;
    }
    let count = u64::from_ne_bytes(info[BYTES_ACKED..BYTES_ACKED + 8].try_into().expect("eight bytes"));
    Some(count.saturating_sub(1))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn acked(_: &TcpStream) -> Option<u64> {
    None
}

/// Makes the drop of the stream a reset, which discards unsent data in the kernel.
pub(super) fn reset_on_drop(stream: &TcpStream) {
    // If that fails, the socket is closed normally, which only sends more than necessary.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// The pending error of the socket.
pub(super) fn pending_error(stream: &TcpStream) -> Option<io::Error> {
    stream.take_error().unwrap_or_else(Some)
}

/// Acknowledges the next data at once: an answer in small pieces would otherwise wait 40 ms for our acknowledgement.
/// Linux only; the kernel resets this option, so it is set after every read.
pub(super) fn acknowledge_at_once(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_quickack(true);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Whether the peer has sent nothing, not even an end, according to the kernel.
pub(super) fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let peeked = SockRef::from(stream).peek(&mut byte);
    matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
