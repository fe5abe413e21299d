//! C3: whatever the bytes, decoding stays under a stated memory ceiling.
//!
//! An allocator that counts measures the peak of everything the decoder allocates for the frames
//! that get the most memory for a byte: empty messages in repeated fields, one-entry maps, packed
//! numbers, bombs. It is one test, since other tests in this process would be counted too. (What
//! zstd takes for its context is not Rust's: about 160 KiB, whatever the frame.)
#![cfg(test)]

#[path = "support/counting.rs"]
mod counting;

use std::sync::atomic::Ordering;

use counting::{NOW, PEAK};
use dashproof_reference::codec::{DecodePolicy, Decoder, Limits, MEMORY_CEILING};

/// Bytes that decoding takes at its peak, beyond what was there, and whether it succeeded.
fn peak(decoder: &mut Decoder, frame: &[u8]) -> (usize, bool) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let ok = decoder.decode(frame).is_ok();
    (PEAK.load(Ordering::Relaxed) - before, ok)
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out
}

/// As many copies of `item` as fit.
fn fill(item: &[u8], len: usize) -> Vec<u8> {
    item.repeat(len / item.len())
}

/// Entries with keys that differ, with `value` as their value field.
fn entries(number: u8, value: &[u8], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 64);
    let mut i = 0u32;
    while out.len() < len {
        let key: String = i.to_string();
        out.extend(field(number, &[field(1, key.as_bytes()), value.to_vec()].concat()));
        i += 1;
    }
    out
}

/// Payloads of about `len` bytes, each as costly as its kind can be.
fn costly(len: usize) -> Vec<(&'static str, Vec<u8>)> {
    let one_map = field(7, &field(1, &field(2, &[])));
    let map_in_map = field(7, &field(1, &field(2, &field(7, &field(1, &[])))));
    vec![
        ("empty nodes of a trace", field(9, &fill(&field(4, &[]), len))),
        ("empty errors of a trace", field(9, &fill(&field(7, &[]), len))),
        ("empty events of a batch", field(8, &fill(&field(2, &[]), len))),
        ("events with one empty attribute", field(8, &fill(&field(2, &field(4, &[])), len))),
        (
            "events with a map in a map",
            field(8, &fill(&field(2, &field(4, &field(2, &map_in_map))), len)),
        ),
        ("empty operations", field(2, &fill(&field(3, &[]), len))),
        ("empty suggestions", field(7, &fill(&field(8, &[]), len))),
        ("suggestions of one byte", field(7, &fill(&field(8, b"x"), len))),
        ("packed tokens", field(3, &field(4, &vec![1; len]))),
        ("unpacked tokens", field(3, &fill(&[0x20, 1], len))),
        ("packed floats", field(3, &field(5, &vec![0; len / 4 * 4]))),
        ("attributes", field(1, &entries(4, &[], len))),
        ("attributes that are maps", field(1, &entries(4, &field(2, &one_map), len))),
        ("metrics", field(6, &entries(4, &[], len))),
        ("metadata with bytes", field(9, &entries(12, &field(2, b"x"), len))),
        ("an array of empty values", {
            let array = field(6, &fill(&field(1, &[]), len));
            field(1, &field(4, &field(2, &array)))
        }),
        ("an array of one-entry maps", {
            let array = field(6, &fill(&field(1, &one_map), len));
            field(1, &field(4, &field(2, &array)))
        }),
        ("one long string", field(1, &field(3, &vec![b'x'; len]))),
        ("a string that grows", {
            let steps = (1..).map(|n| n * 1000).take_while(|n| n * n / 2000 < len);
            field(1, &steps.flat_map(|n| field(3, &vec![b'x'; n])).collect::<Vec<_>>())
        }),
        ("one long state", field(2, &field(5, &vec![7; len]))),
    ]
}

/// Decodes under limits on nothing but memory, and under the defaults, and checks the peaks.
/// Answers how many were let in.
fn measure(name: &str, frame: &[u8], inflated: usize, decoded_bytes: u64) -> usize {
    let unlimited = u64::MAX;
    let only_memory = Limits {
        batch_members: unlimited,
        repeated: unlimited,
        elements: unlimited,
        map_entries: unlimited,
        decoded_bytes,
        ..Limits::default()
    };
    let mut let_in = 0;
    for limits in [only_memory, Limits::default()] {
        let bound = usize::try_from(limits.decoded_bytes).unwrap();
        let policy = DecodePolicy { lenient: true, limits, ..DecodePolicy::default() };
        let (peak, ok) = peak(&mut Decoder::new(policy), frame);
        // The buffer to inflate into, and the error's text.
        assert!(peak <= bound + inflated + 4096, "{name}: {peak} bytes of {bound}");
        assert!(peak + frame.len() <= MEMORY_CEILING, "{name}: {peak} bytes");
        let_in += usize::from(ok);
    }
    let_in
}

#[test]
fn the_peak_of_decoding_stays_under_the_limit_that_is_set_and_under_the_ceiling() {
    let mut let_in = 0;
    for (len, decoded_bytes) in [(10_000, 1 << 20), (100_000, 4 << 20), (100_000, 20 << 20)] {
        for (name, payload) in costly(len) {
            let zipped = |body: Vec<u8>| [&[1], body.as_slice()].concat();
            let plain = [&[0], payload.as_slice()].concat();
            let declared = zipped(zstd::bulk::compress(&payload, 1).unwrap());
            let streamed = zipped(zstd::stream::encode_all(&payload[..], 1).unwrap());
            let guess = payload.len().max(16 << 10) * 4;
            for (frame, inflated) in [(plain, 0), (declared, payload.len()), (streamed, guess)] {
                let_in += measure(name, &frame, inflated, decoded_bytes);
            }
        }
    }
    // Most are let in at one size or another: the bound is not kept by refusing everything.
    assert!(let_in > 200, "{let_in}");
    for (name, payload) in costly((10 << 20) - 64) {
        measure(name, &[&[0], payload.as_slice()].concat(), 0, 224 << 20);
    }
    bombs_do_not_inflate();
}

fn bombs_do_not_inflate() {
    let zeros = vec![0u8; 100 << 20];
    let bombs = [
        zstd::bulk::compress(&zeros, 1).unwrap(),
        zstd::stream::encode_all(&zeros[..], 1).unwrap(),
    ];
    drop(zeros);
    for bomb in bombs {
        let frame = [&[1], bomb.as_slice()].concat();
        let (peak, ok) = peak(&mut Decoder::new(DecodePolicy::default()), &frame);
        assert!(!ok && peak <= 11 << 20, "{peak}");
    }
}
