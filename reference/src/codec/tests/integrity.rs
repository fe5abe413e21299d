//! C4: a changed bit is detected, or changes nothing.

use proptest::prelude::*;

use super::generate::strict_message;
use super::{encoder, event_message, noise, strict};
use crate::codec::{CodecConfig, DecodeErrorKind, Encoder, crc32_header, verify_crc32};

fn flipped(frame: &[u8], bit: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[bit / 8] ^= 1 << (bit % 8);
    frame
}

#[test]
fn every_flipped_bit_of_a_plain_frame_is_detected_by_the_crc_header() {
    let frame = encoder().encode(&mut event_message("hello")).unwrap().frame;
    let crc = crc32_header(&frame);
    let mut decoder = strict();
    assert!(decoder.decode_record(&frame, Some(&crc)).is_ok());
    for bit in 0..frame.len() * 8 {
        let error = decoder.decode_record(&flipped(&frame, bit), Some(&crc)).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::CrcMismatch);
    }
}

#[test]
fn every_flipped_bit_of_a_compressed_frame_is_detected_by_its_own_checksum() {
    let mut message = event_message(&noise(400).repeat(3));
    let encoded = encoder().encode(&mut message).unwrap();
    assert!(encoded.compressed);
    let crc = crc32_header(&encoded.frame);
    let mut decoder = strict();
    for bit in 0..encoded.frame.len() * 8 {
        let frame = flipped(&encoded.frame, bit);
        if let Ok(decoded) = decoder.decode(&frame) {
            assert_eq!(decoded, message, "bit {bit}");
        }
        assert!(decoder.decode_record(&frame, Some(&crc)).is_err());
    }
}

#[test]
fn without_the_checksum_some_flipped_bit_decodes_to_another_message() {
    // Why the checksum is on by default, and that the test above can fail.
    let config = CodecConfig { checksum: false, ..CodecConfig::default() };
    let mut message = event_message(&noise(400).repeat(3));
    let frame = Encoder::new(&config).encode(&mut message).unwrap().frame;
    let mut decoder = strict();
    let silent = (0..frame.len() * 8)
        .filter_map(|bit| decoder.decode(&flipped(&frame, bit)).ok())
        .filter(|decoded| *decoded != message)
        .count();
    assert!(silent > 0);
}

#[test]
fn the_crc_header_is_eight_lower_case_hex_digits_of_the_ieee_crc() {
    // The check value of CRC-32/ISO-HDLC.
    assert_eq!(crc32_header(b"123456789"), "cbf43926");
    assert_eq!(crc32_header(b""), "00000000");
}

#[test]
fn a_crc_header_of_another_form_is_refused_as_malformed() {
    for header in ["", "cbf4392", "cbf439266", "CBF43926", "cbf4392g"] {
        let error = verify_crc32(b"123456789", header.as_bytes()).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::CrcMalformed, "{header}");
    }
    assert!(verify_crc32(b"123456789", b"cbf43926").is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_flipped_bit_of_any_frame_is_detected_by_the_crc_header(
        mut message in strict_message(),
        at in any::<proptest::sample::Index>(),
    ) {
        let frame = encoder().encode(&mut message).unwrap().frame;
        let crc = crc32_header(&frame);
        let damaged = flipped(&frame, at.index(frame.len() * 8));
        prop_assert!(strict().decode_record(&damaged, Some(&crc)).is_err());
        prop_assert!(strict().decode_record(&frame, Some(&crc)).is_ok());
    }
}
