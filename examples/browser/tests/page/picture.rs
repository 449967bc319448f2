//! A picture of the page that is small enough for a repository.

use color_quant::NeuQuant;
use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Transformations};

/// The size of the palette. At this size, an index into the palette is one byte. The page has a
/// dozen colours. The smoothed edges of its letters use the rest of the palette.
const COLOURS: usize = 256;

/// One pixel in this many is sampled for the palette. More samples make no visible difference.
const SAMPLE: i32 = 3;

/// Converts a picture to one with a palette, which reduces its size to a third.
pub(crate) fn with_palette(picture: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(std::io::Cursor::new(picture));
    decoder.set_transformations(Transformations::ALPHA | Transformations::STRIP_16);
    let mut reader = decoder.read_info().expect("a picture");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let frame = reader.next_frame(&mut pixels).expect("pixels");
    assert_eq!(frame.color_type, ColorType::Rgba);
    let palette = NeuQuant::new(SAMPLE, COLOURS, &pixels);
    let indices: Vec<_> =
        pixels.chunks_exact(4).map(|pixel| palette.index_of(pixel) as u8).collect();

    let mut small = Vec::new();
    let mut encoder = Encoder::new(&mut small, frame.width, frame.height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    encoder.set_palette(palette.color_map_rgb());
    let mut writer = encoder.write_header().expect("a picture");
    writer.write_image_data(&indices).expect("pixels");
    writer.finish().expect("a picture");
    small
}
