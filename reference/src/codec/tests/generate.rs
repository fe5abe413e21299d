//! Messages of every type from a tape of bytes: the schema's table says which fields there are, the
//! tape says which are written and with what. A shorter tape of smaller bytes gives a smaller
//! message, so proptest shrinks well.

use proptest::prelude::*;
use prost::Message as _;

use super::super::schema::{self, Kind};
use crate::codec::header_mut;
use crate::proto::dash_stream_message::Message;
use crate::proto::{DashStreamMessage, Header};

/// Bytes that decide; zeros when they run out.
pub(super) struct Tape<'a>(pub(super) std::slice::Iter<'a, u8>);

impl Tape<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }
}

fn varint(out: &mut Vec<u8>, value: u64) {
    prost::encoding::encode_varint(value, out);
}

fn key(out: &mut Vec<u8>, number: usize, wire: u8) {
    varint(out, (number as u64) << 3 | u64::from(wire));
}

fn len_field(out: &mut Vec<u8>, number: usize, content: &[u8]) {
    key(out, number, 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// A number that is now small, now large.
fn number(tape: &mut Tape<'_>) -> u64 {
    let byte = u64::from(tape.next());
    match byte >> 6 {
        0 | 1 => byte,
        2 => byte << 20 | u64::from(tape.next()),
        _ => u64::MAX - byte,
    }
}

fn content(tape: &mut Tape<'_>, utf8: bool) -> Vec<u8> {
    let choice = tape.next();
    // Now and then long enough to pass the compression threshold.
    let len = if choice > 240 { usize::from(choice) * 5 } else { usize::from(choice >> 4) };
    let bytes: Vec<u8> = (0..len).map(|_| tape.next()).collect();
    if utf8 { String::from_utf8_lossy(&bytes).into_owned().into_bytes() } else { bytes }
}

/// Writes the fields of one message, one occurrence or several of each, in the table's order.
pub(super) fn message(out: &mut Vec<u8>, which: u8, tape: &mut Tape<'_>, left: u32) {
    for (at, field) in schema::fields(which).iter().enumerate() {
        let times = match (field.kind, tape.next()) {
            (Kind::None, _) => 0,
            (_, byte) if byte < 96 => 0,
            (_, byte) if byte < 200 => 1,
            (_, byte) => usize::from(byte % 5),
        };
        for _ in 0..times {
            value(out, at, field.kind, tape, left);
        }
    }
}

fn value(out: &mut Vec<u8>, at: usize, kind: Kind, tape: &mut Tape<'_>, left: u32) {
    match kind {
        Kind::None => {}
        Kind::Int64 | Kind::Uint64 | Kind::Uint32 | Kind::Bool | Kind::Enum(_) => {
            key(out, at, 0);
            varint(out, number(tape));
        }
        Kind::Float => {
            key(out, at, 5);
            out.extend((0..4).map(|_| tape.next()));
        }
        Kind::Double => {
            key(out, at, 1);
            out.extend((0..8).map(|_| tape.next()));
        }
        Kind::Utf8 | Kind::Bytes => {
            let content = content(tape, kind == Kind::Utf8);
            len_field(out, at, &content);
        }
        Kind::Message(inner) | Kind::Map(inner) => {
            let mut nested = Vec::new();
            if left > 0 {
                message(&mut nested, inner, tape, left - 1);
            }
            len_field(out, at, &nested);
        }
    }
}

/// Protobuf bytes of an envelope: valid, of any type, not always what an encoder would write.
pub(super) fn payload(tape: &[u8]) -> Vec<u8> {
    let mut tape = Tape(tape.iter());
    let mut inner = Vec::new();
    let kind = 1 + usize::from(tape.next() % 9);
    let fields = schema::fields(schema::ROOT);
    let Kind::Message(which) = fields[kind].kind else { panic!("the envelope holds messages") };
    message(&mut inner, which, &mut tape, 8);
    let mut out = Vec::new();
    len_field(&mut out, kind, &inner);
    out
}

/// Makes a message one that strict decoding accepts: headers everywhere, version 0 or 1.
pub(super) fn make_strict(message: &mut DashStreamMessage) {
    fn fix(header: &mut Option<Header>) {
        header.get_or_insert_default().schema_version &= 1;
    }
    match message.message.as_mut().expect("made with a message") {
        Message::Event(m) => fix(&mut m.header),
        Message::StateDiff(m) => fix(&mut m.header),
        Message::TokenChunk(m) => fix(&mut m.header),
        Message::ToolExecution(m) => fix(&mut m.header),
        Message::Checkpoint(m) => fix(&mut m.header),
        Message::Metrics(m) => fix(&mut m.header),
        Message::Error(m) => fix(&mut m.header),
        Message::ExecutionTrace(m) => fix(&mut m.header),
        Message::EventBatch(m) => {
            fix(&mut m.header);
            m.events.iter_mut().for_each(|e| fix(&mut e.header));
        }
    }
    assert!(header_mut(message).is_some());
}

pub(super) fn tape() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64),
        proptest::collection::vec(any::<u8>(), 64..700),
        // Mostly large bytes: most fields are written.
        proptest::collection::vec(180u8.., 64..1500),
    ]
}

/// A message of any type that strict decoding accepts.
pub(super) fn strict_message() -> impl Strategy<Value = DashStreamMessage> {
    tape().prop_map(|tape| {
        let mut message = DashStreamMessage::decode(payload(&tape).as_slice())
            .expect("the generator writes valid bytes");
        make_strict(&mut message);
        message
    })
}

/// What damage does to bytes.
#[derive(Clone, Debug)]
pub(super) enum Damage {
    Flip(proptest::sample::Index, u8),
    Set(proptest::sample::Index, u8),
    Cut(proptest::sample::Index),
    Insert(proptest::sample::Index, u8),
    Append(Vec<u8>),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Append(more) => bytes.extend_from_slice(more),
            _ if bytes.is_empty() => {}
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << (bit % 8);
            }
            Self::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        }
    }
}

pub(super) fn damage(bytes: &mut Vec<u8>, damages: &[Damage]) {
    for damage in damages {
        damage.apply(bytes);
    }
}

pub(super) fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let index = any::<proptest::sample::Index>;
    let one = prop_oneof![
        (index(), any::<u8>()).prop_map(|(i, b)| Damage::Flip(i, b)),
        (index(), any::<u8>()).prop_map(|(i, b)| Damage::Set(i, b)),
        index().prop_map(Damage::Cut),
        (index(), any::<u8>()).prop_map(|(i, b)| Damage::Insert(i, b)),
        proptest::collection::vec(any::<u8>(), 1..8).prop_map(Damage::Append),
    ];
    proptest::collection::vec(one, 0..4)
}
