//! TLS of the receiver, optionally with client certificates.

use std::io;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Presents this certificate with its key, and requires one that `client_ca` has issued, if given. All are PEM.
pub(super) fn acceptor(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<SslAcceptor, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_certificate(&*X509::from_pem(certificate)?)?;
    builder.set_private_key(&*PKey::private_key_from_pem(key)?)?;
    if let Some(issuer) = client_ca {
        builder.cert_store_mut().add_cert(X509::from_pem(issuer)?)?;
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    Ok(builder.build())
}

pub(super) async fn accept(acceptor: &SslAcceptor, stream: TcpStream) -> io::Result<SslStream<TcpStream>> {
    let ssl = Ssl::new(acceptor.context())?;
    let mut stream = SslStream::new(ssl, stream)?;
    Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
    Ok(stream)
}
