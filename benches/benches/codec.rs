//! What the codec costs over the bare libraries: encode and decode ÷ raw prost and zstd.
//!
//! The raw side does the least that a user of prost and zstd can do: the same messages, the same
//! level and threshold, zstd contexts that are kept, no frame byte, no header check, no limits, no
//! scan; once without zstd's checksum and once with it, as ours has it. The sides run in interleaved
//! rounds of one process, so that a busy machine slows all; a ratio is the median of the rounds'
//! ratios (above 1: faster than raw).
//!
//! `cargo bench -p dashproof-benches --no-default-features --bench codec` (no librdkafka needed);
//! `-- --quick` and criterion's other flags run criterion's own groups instead of the ratios alone.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and fails loudly")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use dashproof_reference::codec::{CodecConfig, DecodePolicy, Decoder, Encoder};
use dashproof_reference::proto::dash_stream_message::Message;
use dashproof_reference::proto::{
    AttributeValue, DashStreamMessage, Event, EventBatch, Header, StateDiff, attribute_value,
};
use prost::Message as _;
use zstd::bulk::{Compressor, Decompressor};

const LEVEL: i32 = 3;
const THRESHOLD: usize = 512;
const CAP: usize = 10 * 1024 * 1024;

/// prost and zstd as they come.
struct Raw {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
}

impl Raw {
    fn new(checksum: bool) -> Self {
        let mut compressor = Compressor::new(LEVEL).unwrap();
        compressor.include_checksum(checksum).unwrap();
        Self { compressor, decompressor: Decompressor::new().unwrap() }
    }

    fn round(&mut self, message: &DashStreamMessage) -> DashStreamMessage {
        let payload = message.encode_to_vec();
        if payload.len() <= THRESHOLD {
            return DashStreamMessage::decode(black_box(payload).as_slice()).unwrap();
        }
        let compressed = black_box(self.compressor.compress(&payload).unwrap());
        let payload = self.decompressor.decompress(&compressed, CAP).unwrap();
        DashStreamMessage::decode(payload.as_slice()).unwrap()
    }
}

/// Ours, with everything on.
struct Ours {
    encoder: Encoder,
    decoder: Decoder,
}

impl Ours {
    fn new() -> Self {
        Self {
            encoder: Encoder::new(&CodecConfig::default()),
            decoder: Decoder::new(DecodePolicy::default()),
        }
    }

    fn round(&mut self, message: &mut DashStreamMessage) -> DashStreamMessage {
        let encoded = black_box(self.encoder.encode(message).unwrap());
        self.decoder.decode(&encoded.frame).unwrap()
    }
}

/// Text like that of a model or a state: words, numbers, JSON.
fn prose(len: usize, seed: u64) -> String {
    const WORDS: [&str; 16] = [
        "the",
        "graph",
        "node",
        "answered",
        "with",
        "a",
        "plan",
        "for",
        "\"tokens\":",
        "{\"step\":",
        "because",
        "tool",
        "search",
        "returned",
        "nothing",
        "}",
    ];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(len + 16);
    while text.len() < len {
        // xorshift: the same text in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(WORDS.iter().cycle().nth((state % 16) as usize).unwrap());
        text.push(' ');
        if state.is_multiple_of(5) {
            text.push_str(&(state % 100_000).to_string());
            text.push(' ');
        }
    }
    text.truncate(len);
    text
}

fn event(fill: usize, seed: u64) -> Event {
    let text = attribute_value::Value::StringValue(prose(fill, seed));
    let header = Header {
        message_id: seed.to_le_bytes().repeat(2),
        timestamp_us: 1_700_000_000_000_000,
        tenant_id: "tenant-1".to_owned(),
        thread_id: "thread-17".to_owned(),
        sequence: seed,
        r#type: 1,
        schema_version: 1,
        ..Header::default()
    };
    Event {
        header: Some(header),
        event_type: 10,
        node_id: "planner".to_owned(),
        attributes: [("text".to_owned(), AttributeValue { value: Some(text) })].into(),
        ..Event::default()
    }
}

fn cases() -> Vec<(&'static str, DashStreamMessage)> {
    let envelope = |message| DashStreamMessage { message: Some(message) };
    let header = event(0, 1).header;
    let batch = EventBatch {
        header: header.clone(),
        events: (0..380).map(|i| event(150, i + 1)).collect(),
    };
    let full_state = prose(102_000, 9).into_bytes();
    let diff = StateDiff { header, full_state, ..StateDiff::default() };
    vec![
        ("100 B event", envelope(Message::Event(event(8, 1)))),
        ("1 KB event", envelope(Message::Event(event(920, 1)))),
        ("100 KB event", envelope(Message::Event(event(102_000, 1)))),
        ("100 KB state", envelope(Message::StateDiff(diff))),
        ("100 KB batch of 380", envelope(Message::EventBatch(batch))),
    ]
}

/// Time per call over so many calls.
fn time(calls: u32, mut f: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        f();
    }
    start.elapsed() / calls
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Measures one case in interleaved rounds and prints its line.
fn ratio(name: &str, message: &DashStreamMessage) {
    const ROUNDS: usize = 801;
    let (mut bare, mut checked, mut ours) = (Raw::new(false), Raw::new(true), Ours::new());
    // Ours writes flags into its message.
    let mut own = message.clone();
    let once = time(20, || drop(black_box(bare.round(message))));
    let calls = u32::try_from(1_000_000 / once.as_nanos().max(1)).unwrap().max(1);
    let mut times = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        let mut sides = [0, 1, 2];
        sides.rotate_left(round % 3);
        for side in sides {
            let took = match side {
                0 => time(calls, || drop(black_box(bare.round(black_box(message))))),
                1 => time(calls, || drop(black_box(checked.round(black_box(message))))),
                _ => time(calls, || drop(black_box(ours.round(black_box(&mut own))))),
            };
            if let Some(times) = times.get_mut(side) {
                times.push(took.as_secs_f64() * 1e6);
            }
        }
    }
    let [bare, checked, ours] = &times;
    let over = |raw: &[f64]| median(raw.iter().zip(ours).map(|(raw, ours)| raw / ours).collect());
    println!(
        "{name:<20} {:>7} B {:>10.3} {:>10.3} {:>10.3}   {:.3} {:>8.3}",
        message.encoded_len(),
        median(bare.clone()),
        median(checked.clone()),
        median(ours.clone()),
        over(bare),
        over(checked),
    );
}

fn main() {
    // `cargo test` runs benches with `--test`: then there is nothing to measure.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    println!("encode + decode, us per message (ratio above 1: faster than raw)");
    println!("{:<30} {:>10} {:>10} {:>10}   ratio +checksum", "", "raw", "+checksum", "codec");
    for (name, message) in cases() {
        ratio(name, &message);
    }
    if std::env::args().any(|arg| arg.starts_with("--") && arg != "--bench") {
        criterion_groups();
    }
}

/// The same cases under criterion, for its statistics and baselines.
fn criterion_groups() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, message) in cases() {
        let mut group = criterion.benchmark_group(name);
        let mut raw = Raw::new(false);
        group.bench_function("raw", |b| b.iter(|| raw.round(black_box(&message))));
        let (mut ours, mut own) = (Ours::new(), message.clone());
        group.bench_function("codec", |b| b.iter(|| ours.round(black_box(&mut own))));
        group.finish();
    }
    criterion.final_summary();
}
