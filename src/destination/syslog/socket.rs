//! What is asked of a socket beyond reading and writing.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How long written bytes may stay unacknowledged, or a full receiver silent, before the connection is given up.
/// Without it a peer that vanished is noticed after a quarter of an hour.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Sets what every stream needs: a vanished peer is noticed within half a minute, busy or idle, and what is written
/// leaves at once.
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

/// Whether the socket can tell how many bytes the peer acknowledged. Where it cannot, a close proves nothing.
pub(super) const TELLS_ACKED: bool = cfg!(target_os = "linux");

/// How many of our bytes the peer's kernel has acknowledged, the SYN not counted but the FIN, which comes after all of
/// them; `None` where that cannot be told.
///
/// After a reset the send queue reads empty although bytes were lost; this count does not lie.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library in use reads TCP_INFO")]
pub(super) fn acked(stream: &TcpStream) -> Option<u64> {
    use std::os::fd::AsRawFd as _;

    /// `tcpi_bytes_acked` of `struct tcp_info` in linux/tcp.h, there since Linux 4.1.
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
    // If that fails, the socket is closed in order instead, which only sends more than necessary.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// The pending error of the socket.
pub(super) fn pending_error(stream: &TcpStream) -> Option<io::Error> {
    stream.take_error().unwrap_or_else(Some)
}

/// Acknowledge what comes next at once: an answer in small pieces would else wait 40 ms for us (Linux only, and the
/// kernel forgets it, so it is asked for after every read).
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
