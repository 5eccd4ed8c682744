//! Unpacks the body of a pull, which may be damaged.
//!
//! Source: Alibaba Cloud SLS API reference, PullLogs: `x-log-compresstype` names the compression, `x-log-bodyrawsize`
//! the size without it. LZ4 is the bare block format, without frame or length prefix, as in the vendor's SDKs.

use bytes::Bytes;

use super::Compression;
use crate::core::budget::Buffers;
use crate::core::page::Unpack;

/// Maximum size of an unpacked page, in bytes. Checked before memory is allocated.
pub const MAX_RAW_SIZE: u64 = 64 << 20;

/// Maximum ratio of an LZ4 block: a length grows by at most 255 per byte.
const LZ4_MAX_RATIO: u64 = 255;

/// Why a body is not a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// A page above [`MAX_RAW_SIZE`]: ask for fewer log groups.
    #[error("a page of {0} bytes is above the limit of {MAX_RAW_SIZE} bytes")]
    TooLarge(u64),
    /// A compression that was not requested.
    #[error("the page is compressed with {0:?}, which was not requested")]
    Unknown(String),
    /// Not in the announced format, or truncated.
    #[error("the {compression} body of {packed} bytes is damaged: {problem}")]
    Damaged {
        /// `lz4` or `zstd`.
        compression: &'static str,
        /// Bytes received.
        packed: usize,
        /// The message of the decompressor.
        problem: String,
    },
    /// Valid, but not of the announced size.
    #[error("the page has {actual} bytes where {announced} were announced")]
    WrongSize {
        /// `x-log-bodyrawsize`.
        announced: u64,
        /// The actual size.
        actual: u64,
    },
}

/// Checks an announced size against [`MAX_RAW_SIZE`].
///
/// # Errors
/// [`UnpackError::TooLarge`].
pub fn check_size(raw_size: u64) -> Result<(), UnpackError> {
    if raw_size > MAX_RAW_SIZE {
        return Err(UnpackError::TooLarge(raw_size));
    }
    Ok(())
}

/// Checks the name of a page's compression (`x-log-compresstype`, any case): it must be the requested one, or none.
///
/// # Errors
/// [`UnpackError::Unknown`].
pub fn check_compression(asked: Compression, named: Option<&str>) -> Result<(), UnpackError> {
    let asked = match asked {
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
        Compression::Plain => "",
    };
    match named.unwrap_or_default() {
        "" => Ok(()),
        named if named.eq_ignore_ascii_case(asked) => Ok(()),
        other => Err(UnpackError::Unknown(other.chars().take(32).collect())),
    }
}

/// Unpacks `body`, which has `raw_size` bytes after unpacking with `compression` (`x-log-compresstype`, any case;
/// absent or empty means plain), into one of the buffers. A raw size of 0 means that there is no body, even if bytes
/// were received.
///
/// # Errors
/// One variant per fault; memory for at most `raw_size` bytes is allocated.
pub fn unpack(compression: Option<&str>, raw_size: u64, body: Bytes, buffers: &Buffers) -> Result<Bytes, UnpackError> {
    check_size(raw_size)?;
    if raw_size == 0 {
        return Ok(Bytes::new());
    }
    let size = usize::try_from(raw_size).map_err(|_| UnpackError::TooLarge(raw_size))?;
    let raw = match compression.unwrap_or_default().to_ascii_lowercase().as_str() {
        "" => body,
        "lz4" if raw_size > LZ4_MAX_RATIO * body.len() as u64 => {
            return Err(damaged("lz4", &body, format!("it cannot hold the {size} bytes announced")));
        }
        "lz4" => unpack_into(buffers, size, &body, unpack_lz4)?,
        "zstd" => unpack_into(buffers, size, &body, unpack_zstd)?,
        other => return Err(UnpackError::Unknown(other.chars().take(32).collect())),
    };
    if raw.len() as u64 != raw_size {
        return Err(UnpackError::WrongSize { announced: raw_size, actual: raw.len() as u64 });
    }
    Ok(raw)
}

/// Returns a function that unpacks a body again that [`unpack`] has unpacked before; `None` if it was not compressed.
#[must_use]
pub fn can_unpack(compression: Option<&str>) -> Option<Unpack> {
    const BEFORE: &str = "it was unpacked before";
    match compression?.to_ascii_lowercase().as_str() {
        "lz4" => Some(|body, size| unpack_into(&Buffers::none(), size, body, unpack_lz4).expect(BEFORE)),
        "zstd" => Some(|body, size| unpack_into(&Buffers::none(), size, body, unpack_zstd).expect(BEFORE)),
        _ => None,
    }
}

/// Unpacks a body; returns the number of bytes.
type UnpackInto = fn(&[u8], &mut [u8]) -> Result<usize, UnpackError>;

fn unpack_into(buffers: &Buffers, size: usize, body: &[u8], unpack: UnpackInto) -> Result<Bytes, UnpackError> {
    let mut raw = buffers.filled(size);
    let written = unpack(body, &mut raw)?;
    raw.truncate(written);
    Ok(Bytes::from_owner(raw))
}

fn unpack_lz4(body: &[u8], raw: &mut [u8]) -> Result<usize, UnpackError> {
    let size = i32::try_from(raw.len()).ok();
    lz4::block::decompress_to_buffer(body, size, raw).map_err(|error| damaged("lz4", body, error.to_string()))
}

fn unpack_zstd(body: &[u8], raw: &mut [u8]) -> Result<usize, UnpackError> {
    zstd::bulk::decompress_to_buffer(body, raw).map_err(|error| damaged("zstd", body, error.to_string()))
}

fn damaged(compression: &'static str, body: &[u8], problem: String) -> UnpackError {
    UnpackError::Damaged { compression, packed: body.len(), problem }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RAW: &str = "0a7f0a240880e2cfaa06121c0a076d657373616765121168656c6c6f2068656c6c6f2068656c6c6f\
        0a240880e2cfaa06121c0a076d657373616765121168656c6c6f2068656c6c6f2068656c6c6f\
        0a240880e2cfaa06121c0a076d657373616765121168656c6c6f2068656c6c6f2068656c6c6f\
        1a0174220831302e302e302e31";
    const LZ4: &str = "f70e0a7f0a240880e2cfaa06121c0a076d657373616765121168656c6c6f2006000f260039d0\
        1a0174220831302e302e302e31";
    const ZSTD: &str = "28b52ffd2081a50100a4020a7f0a240880e2cfaa06121c0a076d657373616765121168656c6c6f20\
        1a0174220831302e302e302e310200991402252e4e";

    fn bytes(hex: &str) -> Bytes {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn unpack(compression: Option<&str>, raw_size: u64, body: Bytes) -> Result<Bytes, UnpackError> {
        super::unpack(compression, raw_size, body, &Buffers::none())
    }

    #[track_caller]
    fn check(compression: Option<&str>, raw_size: u64, body: Bytes, expected: Result<Bytes, &str>) {
        let actual = unpack(compression, raw_size, body).map_err(|error| error.to_string());
        assert_eq!(actual, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_page_is_compressed_as_requested_or_not_at_all() {
        use Compression::{Lz4, Plain, Zstd};

        let taken = |asked, named| check_compression(asked, named).is_ok();
        assert!([Lz4, Zstd, Plain].into_iter().all(|asked| taken(asked, None) && taken(asked, Some(""))));
        assert!(taken(Lz4, Some("LZ4")) && taken(Zstd, Some("zstd")));
        for (asked, named) in [(Lz4, "zstd"), (Zstd, "lz4"), (Plain, "lz4"), (Lz4, "gzip")] {
            assert_eq!(check_compression(asked, Some(named)), Err(UnpackError::Unknown(named.into())));
        }
    }

    #[test]
    fn every_encoding_of_a_page_decompresses_to_the_same_bytes() {
        check(None, 129, bytes(RAW), Ok(bytes(RAW)));
        check(Some(""), 129, bytes(RAW), Ok(bytes(RAW)));
        check(Some("lz4"), 129, bytes(LZ4), Ok(bytes(RAW)));
        check(Some("LZ4"), 129, bytes(LZ4), Ok(bytes(RAW)));
        check(Some("zstd"), 129, bytes(ZSTD), Ok(bytes(RAW)));
    }

    #[test]
    fn incompressible_data_is_one_run_of_literals() {
        let literals = bytes("f021").iter().copied().chain(0..48).collect();
        check(Some("lz4"), 48, literals, Ok((0..48).collect()));
    }

    #[test]
    fn a_raw_size_of_zero_means_no_body() {
        for compression in [None, Some("lz4"), Some("zstd"), Some("deflate")] {
            check(compression, 0, bytes(LZ4), Ok(Bytes::new()));
        }
    }

    #[test]
    fn a_size_that_is_not_exact_is_an_error() {
        let wrong = |announced| format!("the page has 129 bytes where {announced} were announced");
        check(None, 128, bytes(RAW), Err(&wrong(128)));
        check(None, 130, bytes(RAW), Err(&wrong(130)));
        check(Some("lz4"), 130, bytes(LZ4), Err(&wrong(130)));
        check(Some("zstd"), 130, bytes(ZSTD), Err(&wrong(130)));
        for (compression, body) in [("lz4", LZ4), ("zstd", ZSTD)] {
            let short = unpack(Some(compression), 128, bytes(body));
            assert!(matches!(short, Err(UnpackError::Damaged { .. })), "{short:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_memory_is_taken() {
        for compression in [None, Some("lz4"), Some("zstd")] {
            let size = MAX_RAW_SIZE + 1;
            assert_eq!(unpack(compression, size, bytes(LZ4)), Err(UnpackError::TooLarge(size)));
            assert_eq!(unpack(compression, u64::MAX, bytes(LZ4)), Err(UnpackError::TooLarge(u64::MAX)));
        }
        let lie = "the lz4 body of 51 bytes is damaged: it cannot hold the 67108864 bytes announced";
        check(Some("lz4"), MAX_RAW_SIZE, bytes(LZ4), Err(lie));
    }

    #[test]
    fn the_highest_ratio_of_lz4_is_accepted() {
        let raw = vec![7; 4 << 20];
        let packed = lz4::block::compress(&raw, None, false).unwrap();
        assert!(raw.len() > 250 * packed.len());
        check(Some("lz4"), raw.len() as u64, packed.into(), Ok(raw.into()));
    }

    #[test]
    fn an_unrequested_compression_is_named() {
        let error = r#"the page is compressed with "deflate", which was not requested"#;
        check(Some("deflate"), 129, bytes(RAW), Err(error));
        assert_eq!(unpack(Some("gzip"), 129, bytes(RAW)), Err(UnpackError::Unknown("gzip".into())));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_decompress_to_the_announced_size_or_fail(
            body in proptest::collection::vec(any::<u8>(), 0..512),
            compression in proptest::sample::select(vec!["", "lz4", "zstd"]),
            raw_size in prop_oneof![0..2048_u64, any::<u64>()],
        ) {
            if let Ok(raw) = unpack(Some(compression), raw_size, body.into()) {
                prop_assert_eq!(raw.len() as u64, raw_size);
            }
        }

        #[test]
        fn a_torn_or_flipped_page_never_panics(at in 0..51_usize, flip in any::<u8>(), cut in 0..52_usize) {
            for (compression, packed) in [("lz4", LZ4), ("zstd", ZSTD)] {
                let mut body = bytes(packed).to_vec();
                body[at] ^= flip;
                body.truncate(cut);
                if let Ok(raw) = unpack(Some(compression), 129, body.into()) {
                    prop_assert_eq!(raw.len(), 129);
                }
            }
        }

        #[test]
        fn compressed_data_round_trips(raw in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let size = raw.len() as u64;
            let raw = Bytes::from(raw);
            let lz4 = lz4::block::compress(&raw, None, false).unwrap();
            prop_assert_eq!(unpack(Some("lz4"), size, lz4.into()), Ok(raw.clone()));
            let zstd = zstd::bulk::compress(&raw, 1).unwrap();
            prop_assert_eq!(unpack(Some("zstd"), size, zstd.into()), Ok(raw));
        }
    }
}
