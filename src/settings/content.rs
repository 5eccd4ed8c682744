//! Checks the content of files that settings name at the start, so that errors do not appear later.

use std::cmp::Ordering;

use openssl::nid::Nid;
use openssl::x509::{X509, X509NameRef};

use super::problem::Complaint;
use crate::core::printable::excerpt;

/// A credential is one word of printable ASCII. Surrounding white space is ignored.
pub(super) fn credential(text: &[u8]) -> Result<&str, Complaint> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(Complaint::new("it contains only white space", "give the credential, or leave it out"));
    }
    if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| text.starts_with(mark)) {
        return Err(Complaint::new(
            "it begins with a byte order mark",
            "save it as plain text: UTF-8 without BOM, or ASCII",
        ));
    }
    if text.iter().any(u8::is_ascii_whitespace) {
        return Err(Complaint::new("it contains white space", "give only the credential"));
    }
    let is_plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
    std::str::from_utf8(text)
        .ok()
        .filter(is_plain)
        .ok_or_else(|| Complaint::new("it contains characters that no credential has", "give only the credential"))
}

/// Certificates in PEM.
pub(super) fn certificates(content: &[u8]) -> Result<(), Complaint> {
    let labels = labels(content);
    if labels.iter().any(|label| label.ends_with(b"CERTIFICATE")) {
        return Ok(());
    }
    Err(if labels.iter().any(|label| label.ends_with(b"PRIVATE KEY")) {
        Complaint::new("it contains a private key and no certificate", "name the file that has the certificate")
    } else if content.first() == Some(&DER) {
        Complaint::new(
            "it is not PEM; it may be a certificate in DER",
            "convert it: openssl x509 -inform der -in OLD -out NEW",
        )
    } else {
        Complaint::new("it contains no PEM certificate", "it needs a block that begins -----BEGIN CERTIFICATE-----")
    })
}

/// Describes a file of trusted certificates without a root, and which one is missing: OpenSSL trusts a chain only if
/// it ends in a self-signed certificate; an intermediate or a server's own certificate is not enough.
pub(super) fn without_root(content: &[u8]) -> Option<String> {
    let found = X509::stack_from_pem(content).ok()?;
    let is_root = |found: &X509| matches!(found.subject_name().try_cmp(found.issuer_name()), Ok(Ordering::Equal));
    if found.iter().any(is_root) {
        return None;
    }
    let top = found.last()?;
    let (name, issuer) = (common_name(top.subject_name()), common_name(top.issuer_name()));
    Some(format!(
        "there is no root certificate in it: {name} is issued by {issuer}, whose certificate is missing; unless this system \
         trusts that anyway, add the certificates up to the self-signed one at the top"
    ))
}

/// The common name for messages, or the full name.
fn common_name(name: &X509NameRef) -> String {
    let common = name.entries_by_nid(Nid::COMMONNAME).last().and_then(|entry| entry.data().to_string().ok());
    excerpt(&common.map_or_else(|| format!("{name:?}"), |common| format!("{common:?}")))
}

/// A private key in PEM, as PKCS #8.
pub(super) fn private_key(content: &[u8]) -> Result<(), Complaint> {
    const CONVERT: &str = "convert it: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW";
    let labels = labels(content);
    let has = |end: &[u8]| labels.iter().any(|label| label.ends_with(end));
    if labels.contains(&&b"PRIVATE KEY"[..]) {
        return Ok(());
    }
    Err(if has(b"ENCRYPTED PRIVATE KEY") {
        Complaint::new("its key needs a passphrase", CONVERT)
    } else if has(b"PRIVATE KEY") {
        Complaint::new("its key is not in PKCS #8 form", CONVERT)
    } else if has(b"CERTIFICATE") {
        Complaint::new("it contains a certificate and no private key", "name the file that has the key")
    } else {
        Complaint::new("it contains no PEM key", "it needs a block that begins -----BEGIN PRIVATE KEY-----")
    })
}

/// The first byte of a sequence in ASN.1's DER.
const DER: u8 = 0x30;

/// The labels of the blocks of a PEM file: `CERTIFICATE` (RFC 7468).
fn labels(content: &[u8]) -> Vec<&[u8]> {
    let label = |line| <[u8]>::strip_prefix(line, b"-----BEGIN ")?.trim_ascii_end().strip_suffix(b"-----");
    content.split(|byte| *byte == b'\n').filter_map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what<T>(checked: Result<T, Complaint>) -> Option<String> {
        checked.err().map(|complaint| complaint.what)
    }

    #[test]
    fn a_credential_has_no_white_space() {
        let check = |text: &[u8], expected: Option<&str>| assert_eq!(what(credential(text)).as_deref(), expected);
        assert_eq!(credential(b" word\r\n").unwrap(), "word");
        check(b" \r\n", Some("it contains only white space"));
        check(b"two\nwords\n", Some("it contains white space"));
        check(b"\xef\xbb\xbfword\n", Some("it begins with a byte order mark"));
        check(b"\xff\xfew\0o\0", Some("it begins with a byte order mark"));
        check(b"w\0o\0", Some("it contains characters that no credential has"));
        check("wörd".as_bytes(), Some("it contains characters that no credential has"));
    }

    #[test]
    fn a_ca_file_without_a_root_is_reported_with_the_missing_issuer() {
        let server = include_bytes!("../destination/hec/client/tests/tls/server.pem");
        let issuer = include_bytes!("../destination/hec/client/tests/tls/issuer.pem");
        let warning = without_root(server).unwrap();
        assert!(warning.contains("\"localhost\" is issued by \"forwarder test issuer\", whose"), "{warning}");
        assert_eq!(without_root(issuer), None);
        assert_eq!(without_root(&[&server[..], issuer].concat()), None);
        // A server's own certificate that is self-signed is its own root.
        assert_eq!(without_root(include_bytes!("../sls/client/test-cert.pem")), None);
    }

    #[test]
    fn certificates_and_keys_are_distinguished() {
        let pem = |label: &str| format!("x\n-----BEGIN {label}-----\r\nMII=\n-----END {label}-----\n").into_bytes();
        let check = |content: &[u8], as_certificate: Option<&str>, as_key: Option<&str>| {
            let seen = (what(certificates(content)), what(private_key(content)));
            assert_eq!((seen.0.as_deref(), seen.1.as_deref()), (as_certificate, as_key));
        };
        let no_certificate = Some("it contains a private key and no certificate");
        check(&pem("CERTIFICATE"), None, Some("it contains a certificate and no private key"));
        check(&pem("PRIVATE KEY"), no_certificate, None);
        check(&pem("RSA PRIVATE KEY"), no_certificate, Some("its key is not in PKCS #8 form"));
        check(&pem("ENCRYPTED PRIVATE KEY"), no_certificate, Some("its key needs a passphrase"));
        check(&[pem("CERTIFICATE"), pem("PRIVATE KEY")].concat(), None, None);
        check(b"\x30\x82", Some("it is not PEM; it may be a certificate in DER"), Some("it contains no PEM key"));
        check(b"word", Some("it contains no PEM certificate"), Some("it contains no PEM key"));
    }
}
