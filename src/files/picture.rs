//! Images: their size, and their thumbnails. Sizes are read before anything is decoded, so that an image
//! which would take too much memory costs nothing; what is decoded is done by one thread at a time.

use std::{
    fs::File,
    io::{BufReader, Cursor},
    path::Path,
};

use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat,
    ImageReader, Limits, RgbaImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
    metadata::Orientation,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Pixels of the longer side of a thumbnail.
const SIDE: u32 = 480;

/// Quality of a thumbnail's JPEG, of 100.
const QUALITY: u8 = 80;

/// Bytes that a pixel may take while it is decoded: of a JPEG whose coefficients come in several scans,
/// with four colours; of a WebP with several frames; of a GIF, whose frame has a place in a larger image.
/// Not all of their decoders keep a limit of their own.
const JPEG: u64 = 11;
const WEBP: u64 = 16;
const GIF: u64 = 8;

/// Bytes that what stands before the pixels may take, such as a profile of colours.
const HEAD: u64 = 1024 * 1024;

/// Makes thumbnails.
pub struct Pictures {
    /// Bytes that decoding an image may take.
    room: u64,
    /// One at a time.
    turn: Semaphore,
}

/// An image.
#[derive(Debug)]
pub struct Picture {
    /// Width and height as it is shown.
    pub dimensions: (u32, u32),
    /// `None` if decoding it might take too much memory, or it cannot be decoded.
    pub thumbnail: Option<Vec<u8>>,
}

/// Content that begins as an image and is none.
#[derive(Debug, thiserror::Error)]
#[error("the image cannot be read")]
pub struct NotAPicture;

impl Pictures {
    /// Makes one that takes so many bytes of memory for an image.
    #[must_use]
    pub fn new(room: u64) -> Self {
        Pictures {
            room,
            turn: Semaphore::new(1),
        }
    }

    /// Reads the size of an image, and makes its thumbnail.
    ///
    /// # Errors
    /// When not even its size can be read.
    pub async fn examine(&self, path: &Path, media_type: &str) -> Result<Picture, NotAPicture> {
        let format = ImageFormat::from_mime_type(media_type).ok_or(NotAPicture)?;
        let (path, room) = (path.to_owned(), self.room);
        // It is never closed.
        let _turn = self.turn.acquire().await;
        let work = spawn_blocking(move || examine(&path, format, room));
        work.await.map_err(|_| NotAPicture)?
    }
}

fn examine(path: &Path, format: ImageFormat, room: u64) -> Result<Picture, NotAPicture> {
    let file = BufReader::new(File::open(path).map_err(|_| NotAPicture)?);
    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(room + HEAD);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|_| NotAPicture)?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let dimensions = if is_turned(orientation) {
        (height, width)
    } else {
        (width, height)
    };
    let is_small = memory_of(format, &decoder) <= room;
    let thumbnail = is_small.then(|| thumbnail(decoder, orientation));
    Ok(Picture {
        dimensions,
        thumbnail: thumbnail.and_then(Result::ok),
    })
}

/// Returns the bytes that decoding an image may take.
fn memory_of(format: ImageFormat, decoder: &impl ImageDecoder) -> u64 {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    match format {
        ImageFormat::Jpeg => pixels.saturating_mul(JPEG),
        ImageFormat::WebP => pixels.saturating_mul(WEBP),
        ImageFormat::Gif => pixels.saturating_mul(GIF),
        // A PNG is decoded in place, with up to 8 bytes for each pixel.
        _ => decoder.total_bytes(),
    }
}

fn is_turned(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// Returns a thumbnail: a JPEG, or a PNG of an image that one can see through.
fn thumbnail(decoder: impl ImageDecoder, orientation: Orientation) -> Result<Vec<u8>, ImageError> {
    let mut image = DynamicImage::from_decoder(decoder)?;
    if image.width() > SIDE || image.height() > SIDE {
        image = image.thumbnail(SIDE, SIDE);
    }
    image.apply_orientation(orientation);
    let mut bytes = Cursor::new(Vec::new());
    let rgba = image.has_alpha().then(|| image.to_rgba8());
    if let Some(rgba) = rgba.filter(has_clear) {
        let encoder = PngEncoder::new(&mut bytes);
        encoder.write_image(&rgba, rgba.width(), rgba.height(), ExtendedColorType::Rgba8)?;
    } else {
        let rgb = image.into_rgb8();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
        encoder.write_image(&rgb, rgb.width(), rgb.height(), ExtendedColorType::Rgb8)?;
    }
    Ok(bytes.into_inner())
}

fn has_clear(image: &RgbaImage) -> bool {
    image.pixels().any(|pixel| pixel.0[3] < u8::MAX)
}
