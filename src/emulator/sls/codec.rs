//! Compression of bodies, by the names in `x-log-compresstype`.

use std::io::{self, Read as _, Write as _};

use super::refusal::Refusal;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// One raw LZ4 block, without magic or length.
    Lz4,
    /// A Zstandard frame.
    Zstd,
    /// zlib (RFC 1950), despite the name.
    Deflate,
}

impl Codec {
    /// The codec of an `Accept-Encoding`; `None` if SLS knows none of them.
    #[must_use]
    pub fn accepted(accept_encoding: &str) -> Option<Self> {
        accept_encoding.split(',').find_map(Self::named)
    }

    /// The codec with this name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }

    /// Compresses a body.
    ///
    /// # Errors
    /// The library behind it failed.
    pub fn compress(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Lz4 => lz4::block::compress(body, None, false),
            Self::Zstd => zstd::bulk::compress(body, 1),
            Self::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }

    /// Reverses [`Codec::compress`]; `size` is the unpacked size, which the caller has limited.
    ///
    /// # Errors
    /// `PostBodyUncompressError`: the body is damaged, or of another size.
    pub fn decompress(self, body: &[u8], size: usize) -> Result<Vec<u8>, Refusal> {
        let raw = match self {
            Self::Lz4 => {
                i32::try_from(size).map_err(io::Error::other).and_then(|size| lz4::block::decompress(body, Some(size)))
            }
            Self::Zstd => zstd::bulk::decompress(body, size),
            Self::Deflate => {
                let mut raw = Vec::new();
                let mut decoder = flate2::read::ZlibDecoder::new(body).take(size as u64 + 1);
                decoder.read_to_end(&mut raw).map(|_| raw)
            }
        };
        let failed = |message: String| Refusal::new(400, "PostBodyUncompressError", message);
        match raw {
            Ok(raw) if raw.len() == size => Ok(raw),
            Ok(_) => Err(failed(format!("the body is not of {size} bytes as x-log-bodyrawsize says"))),
            Err(error) => Err(failed(format!("{} body: {error}", self.name()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 3] = [Codec::Lz4, Codec::Zstd, Codec::Deflate];

    #[test]
    fn a_supported_encoding_is_used_and_otherwise_none() {
        let accepted = ["lz4", "zstd", "deflate", "LZ4", "gzip, deflate", "", "identity"].map(Codec::accepted);
        let [lz4, zstd, deflate] = ALL.map(Some);
        assert_eq!(accepted, [lz4, zstd, deflate, lz4, deflate, None, None]);
    }

    #[test]
    fn every_codec_restores_its_input() {
        for codec in ALL {
            for body in [&b""[..], b"x", &[7; 100_000]] {
                let packed = codec.compress(body).unwrap();
                assert_eq!(codec.decompress(&packed, body.len()).unwrap(), body);
            }
        }
    }

    #[test]
    fn a_wrong_size_or_damaged_data_is_refused() {
        for codec in ALL {
            let packed = codec.compress(&[7; 1000]).unwrap();
            for (body, size) in
                [(&packed[..], 999), (&packed, 1001), (&packed[..packed.len() / 2], 1000), (&[0xff; 9], 9)]
            {
                let refusal = codec.decompress(body, size).expect_err("it is damaged");
                assert_eq!(refusal.code, "PostBodyUncompressError", "{codec:?} {size}");
            }
        }
    }

    #[test]
    fn the_vendors_block_of_literals_only_is_read() {
        let mut block = vec![0xf0, 0x21];
        block.extend([9; 48]);
        assert_eq!(Codec::Lz4.decompress(&block, 48).unwrap(), [9; 48]);
    }
}
