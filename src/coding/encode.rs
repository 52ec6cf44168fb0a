//! Bytes in, encoded bytes out.

use std::io::{self, Write};

use super::Coding;

/// Level of gzip and deflate: what servers use on the fly.
const DEFLATE_LEVEL: u32 = 5;
/// Quality of br: the highest that keeps up with a connection.
const BROTLI_QUALITY: u32 = 4;
/// Window of br: 4 MiB.
const BROTLI_WINDOW_LOG: u32 = 22;
const BROTLI_BUFFER_BYTES: usize = 4 << 10;
/// Level of zstd: its default.
const ZSTD_LEVEL: i32 = 3;

/// Applies the codings of one body.
pub struct Encoder {
    layers: Vec<Layer>,
}

enum Layer {
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Deflate(flate2::write::ZlibEncoder<Vec<u8>>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// Begins a body whose codings are applied in this order.
    ///
    /// # Errors
    /// When the library cannot start.
    pub fn new(codings: &[Coding]) -> io::Result<Self> {
        Ok(Self {
            layers: codings.iter().map(|&coding| Layer::new(coding)).collect::<Result<_, _>>()?,
        })
    }

    /// Takes the next piece; gives what is ready.
    ///
    /// # Errors
    /// When the library fails.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.through(bytes, |layer, bytes| layer.writer().write_all(bytes))
    }

    /// Gives everything taken so far, for those who wait for it (a stream of events).
    ///
    /// # Errors
    /// When the library fails.
    pub fn flush(&mut self) -> io::Result<Vec<u8>> {
        self.through(&[], |layer, bytes| {
            layer.writer().write_all(bytes)?;
            layer.writer().flush()
        })
    }

    /// Ends the body; gives the rest.
    ///
    /// # Errors
    /// When the library fails.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        let mut carried = Vec::new();
        for mut layer in self.layers {
            layer.writer().write_all(&carried)?;
            carried = layer.finish()?;
        }
        Ok(carried)
    }

    fn through(
        &mut self,
        bytes: &[u8],
        write: impl Fn(&mut Layer, &[u8]) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let mut carried = bytes.to_vec();
        for layer in &mut self.layers {
            write(layer, &carried)?;
            carried = layer.take();
        }
        Ok(carried)
    }
}

impl Layer {
    fn new(coding: Coding) -> io::Result<Self> {
        let level = flate2::Compression::new(DEFLATE_LEVEL);
        Ok(match coding {
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER_BYTES,
                BROTLI_QUALITY,
                BROTLI_WINDOW_LOG,
            ))),
            Coding::Deflate => Self::Deflate(flate2::write::ZlibEncoder::new(Vec::new(), level)),
            Coding::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), level)),
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Brotli(encoder) => encoder,
            Self::Deflate(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Deflate(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Deflate(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}
