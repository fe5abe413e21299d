//! 84 byte strings and what `DashFlow` 1.11.3, the original, made of each under its five ways of
//! decoding. We give the same answer under the policy that corresponds, or the vector is in
//! [`STRICTER`] with the reason, and the manual shows that table.
#![cfg(test)]

use dashproof_reference::codec::{
    DecodeErrorKind, DecodePolicy, Decoder, Legacy, Limits, SchemaPolicy,
};
use prost::Message as _;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Vectors that we refuse and the original lets in: id, the original's ways of decoding that let it
/// in, our error, and why.
const STRICTER: &[(&str, &[&str], DecodeErrorKind, &str)] = &[
    (
        "frame/header-only-zstd",
        &["strict", "compatible"],
        DecodeErrorKind::Zstd,
        "frame byte 0x01 promises a zstd frame; its absence is a cut record, not an empty message",
    ),
    (
        "truncated/zstd-1",
        &["strict", "compatible"],
        DecodeErrorKind::Zstd,
        "the same bytes: a compressed record cut behind its frame byte",
    ),
];

const MANUAL: &str = include_str!("../src/manual/codec.md");

/// The original's ways of decoding, and our policy for each.
fn policies() -> [(&'static str, DecodePolicy); 5] {
    let validated =
        |schema| DecodePolicy { schema, legacy: Legacy::Protobuf, ..DecodePolicy::default() };
    [
        ("strict", DecodePolicy { lenient: true, ..DecodePolicy::default() }),
        (
            "compatible",
            DecodePolicy {
                lenient: true,
                legacy: Legacy::ProtobufOrZstd,
                ..DecodePolicy::default()
            },
        ),
        ("validated_exact", validated(SchemaPolicy::Exact)),
        ("validated_forward", validated(SchemaPolicy::Forward)),
        ("validated_backward", validated(SchemaPolicy::Backward)),
    ]
}

struct Vector {
    id: String,
    bytes: Vec<u8>,
    answers: Value,
}

impl Vector {
    /// The original's answer: the message's hash, or its error text.
    fn answer(&self, column: &str) -> Result<&str, &str> {
        let answer = &self.answers[column];
        answer["ok_sha256"].as_str().ok_or_else(|| answer["err"].as_str().unwrap())
    }
}

fn vectors() -> Vec<Vector> {
    let all: Value = serde_json::from_str(include_str!("data/dashstream-v1.json")).unwrap();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 84);
    all.iter()
        .map(|v| Vector {
            id: v["id"].as_str().unwrap().to_owned(),
            bytes: unhex(v["bytes_hex"].as_str().unwrap()),
            answers: v["dashflow_1_11_3"].clone(),
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn decode(policy: DecodePolicy, bytes: &[u8]) -> Result<String, DecodeErrorKind> {
    let message = Decoder::new(policy).decode(bytes).map_err(|e| {
        assert!(e.offset <= bytes.len().max(10 * 1024 * 1024), "{e:?}");
        e.kind
    })?;
    let hash = Sha256::digest(message.encode_to_vec());
    Ok(hash.iter().fold(String::new(), |text, b| format!("{text}{b:02x}")))
}

fn stricter(id: &str, column: &str) -> Option<DecodeErrorKind> {
    let row = STRICTER.iter().find(|(row, columns, ..)| *row == id && columns.contains(&column));
    row.map(|(.., kind, _)| *kind)
}

/// Whether an error of ours is of the sort that the original names.
fn same_sort(original: &str, ours: DecodeErrorKind) -> bool {
    use DecodeErrorKind as K;
    match original {
        "IO error" => ours == K::Empty,
        "Decompression error" => {
            matches!(ours, K::Zstd | K::ZstdTrailing | K::PayloadTooLarge | K::FrameTooLarge)
        }
        "Invalid message format" => {
            matches!(
                ours,
                K::UnknownFrame | K::MissingMessage | K::MissingHeader | K::SchemaVersion
            )
        }
        // An unknown frame byte is protobuf to the original where it allows bare messages.
        "Protobuf decoding error" => matches!(
            ours,
            K::UnknownFrame | K::Truncated | K::Varint | K::Key | K::WireType | K::Group | K::Utf8
        ),
        other => panic!("the vectors have a new error text: {other}"),
    }
}

#[test]
fn every_vector_gets_the_originals_answer_or_is_deliberately_stricter() {
    let mut wrong = Vec::new();
    for vector in vectors() {
        for (column, policy) in policies() {
            let ours = decode(policy, &vector.bytes);
            let fine = match (vector.answer(column), &ours) {
                (Ok(hash), Ok(ours)) => hash == ours,
                (Ok(_), Err(kind)) => stricter(&vector.id, column) == Some(*kind),
                // Where a later check of the original refuses too, ours is still the earlier one.
                (Err(text), Err(kind)) => {
                    same_sort(text, *kind)
                        || STRICTER.iter().any(|(id, _, k, _)| *id == vector.id && k == kind)
                }
                (Err(_), Ok(_)) => false,
            };
            if !fine {
                wrong.push(format!("{} {column}: {:?} {ours:?}", vector.id, vector.answer(column)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_default_policy_lets_in_what_both_strict_ways_of_the_original_let_in() {
    for vector in vectors() {
        let answers = [vector.answer("strict"), vector.answer("validated_exact")];
        let ours = decode(DecodePolicy::default(), &vector.bytes);
        match answers {
            [Ok(hash), Ok(_)] => assert_eq!(ours.as_deref(), Ok(hash), "{}", vector.id),
            _ => assert!(ours.is_err(), "{}", vector.id),
        }
    }
}

#[test]
fn every_deliberately_stricter_row_is_a_vector_that_the_original_lets_in_there() {
    let vectors = vectors();
    for (id, columns, kind, _) in STRICTER {
        let vector = vectors.iter().find(|v| v.id == *id).unwrap();
        for (column, policy) in policies().into_iter().filter(|(c, _)| columns.contains(c)) {
            assert!(vector.answer(column).is_ok(), "{id} {column}");
            assert_eq!(decode(policy, &vector.bytes), Err(*kind), "{id} {column}");
        }
    }
}

#[test]
fn the_manual_shows_the_deliberately_stricter_table_as_it_is() {
    let rows: Vec<String> = STRICTER
        .iter()
        .map(|(id, columns, kind, why)| {
            let columns: Vec<String> = columns.iter().map(|c| format!("`{c}`")).collect();
            format!("| `{id}` | {} | `{kind}` | {why} |", columns.join(", "))
        })
        .collect();
    let section = MANUAL.split("## Deliberately stricter").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap();
    let shown: Vec<&str> = section.lines().filter(|l| l.starts_with("| `")).collect();
    assert_eq!(shown, rows);
}

/// The first cells of the rows of a section's table, without their backticks.
fn rows(section: &str) -> Vec<Vec<String>> {
    let text = MANUAL.split(&format!("\n## {section}\n")).nth(1).expect("the section is there");
    let text = text.split("\n## ").next().unwrap();
    text.lines()
        .filter(|l| l.starts_with("| `"))
        .map(|l| l.split('|').skip(1).map(|c| c.trim().trim_matches('`').to_owned()).collect())
        .collect()
}

#[test]
fn the_manual_shows_every_error_kind() {
    let shown: Vec<String> = rows("Errors").into_iter().map(|row| row[0].clone()).collect();
    let kinds: Vec<&str> = DecodeErrorKind::ALL.iter().map(|k| k.as_str()).collect();
    assert_eq!(shown, kinds);
}

#[test]
fn the_manual_shows_every_limit_and_its_default() {
    let shown: Vec<(String, String)> =
        rows("Limits").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let Limits { payload, depth, batch_members, repeated, elements, map_entries, decoded_bytes } =
        Limits::default();
    let defaults = [
        ("payload", payload as u64),
        ("depth", depth.into()),
        ("batch_members", batch_members),
        ("repeated", repeated),
        ("elements", elements),
        ("map_entries", map_entries),
        ("decoded_bytes", decoded_bytes),
    ];
    assert_eq!(shown, defaults.map(|(name, value)| (name.to_owned(), value.to_string())));
}
