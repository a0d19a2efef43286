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

/// Bytes of a decoder besides the pixels.
const OVERHEAD: u64 = 16 * 1024 * 1024;

/// Makes thumbnails.
pub struct Pictures {
    pixels: u64,
    /// One at a time.
    turn: Semaphore,
}

/// An image.
#[derive(Debug)]
pub struct Picture {
    /// Width and height as it is shown.
    pub dimensions: (u32, u32),
    /// `None` if it has more pixels than are decoded, or cannot be.
    pub thumbnail: Option<Vec<u8>>,
}

/// Content that begins as an image and is none.
#[derive(Debug, thiserror::Error)]
#[error("the image cannot be read")]
pub struct NotAPicture;

impl Pictures {
    #[must_use]
    pub fn new(mpixels: u32) -> Self {
        Pictures {
            pixels: u64::from(mpixels) * 1_000_000,
            turn: Semaphore::new(1),
        }
    }

    /// Reads the size of an image, and makes its thumbnail.
    ///
    /// # Errors
    /// When not even its size can be read.
    pub async fn examine(&self, path: &Path, media_type: &str) -> Result<Picture, NotAPicture> {
        let format = ImageFormat::from_mime_type(media_type).ok_or(NotAPicture)?;
        let (path, pixels) = (path.to_owned(), self.pixels);
        // It is never closed.
        let _turn = self.turn.acquire().await;
        let work = spawn_blocking(move || examine(&path, format, pixels));
        work.await.map_err(|_| NotAPicture)?
    }
}

fn examine(path: &Path, format: ImageFormat, pixels: u64) -> Result<Picture, NotAPicture> {
    let file = BufReader::new(File::open(path).map_err(|_| NotAPicture)?);
    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(4 * pixels + OVERHEAD);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|_| NotAPicture)?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let dimensions = if is_turned(orientation) {
        (height, width)
    } else {
        (width, height)
    };
    let is_small = u64::from(width) * u64::from(height) <= pixels;
    let thumbnail = is_small.then(|| thumbnail(decoder, orientation));
    Ok(Picture {
        dimensions,
        thumbnail: thumbnail.and_then(Result::ok),
    })
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
