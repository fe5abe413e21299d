//! zstd, one frame at a time, with a context that is kept between messages.

use std::fmt;

use zstd::zstd_safe::{self, DCtx};

use super::error::{DecodeError, DecodeErrorKind, Region};
use super::frame::ZSTD_MAGIC;

/// An inflated buffer larger than this is given back after use instead of being kept.
const KEEP_CAPACITY: usize = 1024 * 1024;
/// First guess for a frame that does not say how much it holds.
const FIRST_GUESS: usize = 16 * 1024;

/// Inflates zstd frames into a buffer of its own, up to a cap.
pub(super) struct Inflater {
    context: Option<DCtx<'static>>,
    pub(super) buffer: Vec<u8>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("kept", &self.buffer.capacity()).finish_non_exhaustive()
    }
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { context: None, buffer: Vec::new() }
    }

    /// Inflates `body`, which starts at byte `base` of the frame and must be exactly one zstd
    /// frame. The declared size is never trusted beyond `cap`, and zstd itself checks that it is
    /// true.
    pub(super) fn inflate(
        &mut self,
        body: &[u8],
        base: usize,
        cap: usize,
    ) -> Result<&[u8], DecodeError> {
        let corrupt =
            |text: String| DecodeError::new(DecodeErrorKind::Zstd, Region::Frame, base, text);
        if !body.starts_with(&ZSTD_MAGIC) {
            return Err(corrupt("frame byte promises a zstd frame, and none follows".to_owned()));
        }
        let whole = zstd_safe::find_frame_compressed_size(body)
            .map_err(|code| corrupt(zstd_text("zstd frame is cut short or corrupt", code)))?;
        if whole < body.len() {
            return Err(DecodeError::new(
                DecodeErrorKind::ZstdTrailing,
                Region::Frame,
                base + whole,
                format!("{} bytes follow the zstd frame", body.len() - whole),
            ));
        }
        let declared = zstd_safe::get_frame_content_size(body)
            .map_err(|_| corrupt("zstd frame header is corrupt".to_owned()))?
            .map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if declared.is_some_and(|size| size > cap) {
            return Err(too_large(base, cap));
        }
        self.run(body, declared, base, cap)
    }

    fn run(
        &mut self,
        body: &[u8],
        declared: Option<usize>,
        base: usize,
        cap: usize,
    ) -> Result<&[u8], DecodeError> {
        let corrupt =
            |text: String| DecodeError::new(DecodeErrorKind::Zstd, Region::Frame, base, text);
        if self.context.is_none() {
            self.context = DCtx::try_create();
        }
        let Some(context) = &mut self.context else {
            return Err(corrupt("no memory for a zstd context".to_owned()));
        };
        let mut capacity = declared.unwrap_or(FIRST_GUESS.max(body.len() * 4)).min(cap);
        loop {
            self.buffer.clear();
            if self.buffer.capacity() < capacity {
                // Give the old one back first, or both count.
                self.buffer = Vec::new();
                self.buffer.reserve_exact(capacity);
            }
            // The whole of the destination is the window: no memory but the buffer is taken.
            match context.decompress(&mut self.buffer, body) {
                Ok(_) if self.buffer.len() > cap => return Err(too_large(base, cap)),
                Ok(_) => return Ok(&self.buffer),
                Err(code) if !is_too_small(code) => {
                    return Err(corrupt(zstd_text("zstd frame is corrupt", code)));
                }
                Err(_) if declared.is_some() => {
                    let text = "zstd frame holds more than it declares";
                    return Err(corrupt(text.to_owned()));
                }
                Err(_) if capacity >= cap => return Err(too_large(base, cap)),
                Err(_) => capacity = capacity.saturating_mul(4).min(cap),
            }
        }
    }

    /// Gives a large buffer back.
    pub(super) fn trim(&mut self) {
        if self.buffer.capacity() > KEEP_CAPACITY {
            self.buffer = Vec::new();
        }
    }
}

fn too_large(base: usize, cap: usize) -> DecodeError {
    let text = format!("zstd frame inflates to more than the payload limit of {cap} bytes");
    DecodeError::new(DecodeErrorKind::PayloadTooLarge, Region::Frame, base, text)
        .with_limit(cap as u64)
}

/// Error 70 of zstd's stable error codes: the destination is too small.
fn is_too_small(code: usize) -> bool {
    code == 70usize.wrapping_neg()
}

fn zstd_text(what: &str, code: usize) -> String {
    format!("{what}: {}", zstd_safe::get_error_name(code).to_ascii_lowercase())
}
