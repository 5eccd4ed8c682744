//! The meaning of an error of the TLS library.

use std::error::Error as _;
use std::{io, iter};

/// Whether a handshake failed because of the network or a closed connection, so that a retry may succeed. Otherwise
/// one side refused the other, and only a change helps.
///
/// A connection that is closed during the handshake is recognised by the error text, because the TLS library provides
/// no code.
#[must_use]
pub fn is_cut_short(error: &native_tls::Error) -> bool {
    error.to_string().to_ascii_lowercase().contains("unexpected eof")
        || iter::successors(error.source(), |cause| (*cause).source()).any(|cause| cause.is::<io::Error>())
}

/// The useful part of `error:0A000086:SSL routines:function:reason:file:line:more (verification)`. Any other text is
/// returned as it is.
#[must_use]
pub fn reason(error: &str) -> String {
    let reason =
        error.strip_prefix("error:").and_then(|rest| rest.split(':').nth(3)).filter(|reason| !reason.is_empty());
    let verification = error.rfind(" (").map_or("", |at| &error[at..]);
    reason.map_or_else(|| error.to_owned(), |reason| format!("{reason}{verification}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// The error of a handshake with a server that reads the greeting, sends `answer` and closes the connection.
    async fn handshake_with(answer: &'static [u8]) -> native_tls::Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(answer).await.unwrap();
        };
        let connector = tokio_native_tls::TlsConnector::from(native_tls::TlsConnector::new().unwrap());
        let (error, ()) = tokio::join!(connector.connect("siem.example", stream), server);
        error.unwrap_err()
    }

    #[tokio::test]
    async fn a_connection_that_ends_during_the_handshake_is_reported_as_cut_short() {
        let error = handshake_with(b"").await;
        assert!(is_cut_short(&error), "{error}");
    }

    #[tokio::test]
    async fn a_reply_that_is_not_tls_is_a_refusal() {
        let error = handshake_with(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(!is_cut_short(&error), "{error}");
    }

    #[test]
    fn an_error_of_the_tls_library_is_shown_with_its_reason() {
        let check = |error: &str, expected: &str| assert_eq!(reason(error), expected);
        check(
            "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:\
             ssl/statem/statem_clnt.c:2125: (IP address mismatch)",
            "certificate verify failed (IP address mismatch)",
        );
        check(
            "error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:ssl/record/rec_layer_s3.c:916:SSL \
             alert number 116",
            "tlsv13 alert certificate required",
        );
        check("error:0A00045C::::", "error:0A00045C::::");
        check("unexpected EOF", "unexpected EOF");
    }
}
