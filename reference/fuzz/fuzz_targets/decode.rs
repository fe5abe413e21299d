//! Any bytes: no panic under any policy, and what decodes can be encoded and decoded again to the
//! same message.
#![no_main]

use dashproof_reference::codec::{
    CodecConfig, DecodePolicy, Decoder, Encoder, Legacy, SchemaPolicy,
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|bytes: &[u8]| {
    let lenient = DecodePolicy {
        schema: SchemaPolicy::Forward,
        legacy: Legacy::ProtobufOrZstd,
        lenient: true,
        ..DecodePolicy::default()
    };
    let let_in = Decoder::new(lenient).decode(bytes);
    let Ok(mut message) = Decoder::new(DecodePolicy::default()).decode(bytes) else { return };
    let let_in = let_in.expect("what strict decoding accepts, lenient decoding accepts");
    assert_eq!(let_in.encode_to_vec(), message.encode_to_vec());

    // A message may be over the size limit when its unknown fields were cut and defaults written.
    let Ok(encoded) = Encoder::new(&CodecConfig::default()).encode(&mut message) else { return };
    let again = Decoder::new(DecodePolicy::default()).decode(&encoded.frame);
    let again = again.expect("what is encoded, strict decoding accepts");
    assert_eq!(again.encode_to_vec(), message.encode_to_vec());
});
