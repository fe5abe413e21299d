//! Codec laws as far as a history shows them: C2, C4, C6. The rest is for property tests.

use super::findings::{Evidence, Findings};
use super::index::{Call, Index};
use super::laws::LawId::{C2, C4, C6};
use super::records;
use crate::history::Route;
use crate::scenario::model::{ActionKind, At};

/// Judges what the log reader found wrong with records, and the decodes that the scenario asked
/// for.
pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    let main = index.logs.iter().filter(|log| log.route == Route::Main);
    let count = main.map(|log| log.records.len() as u64).sum();
    for law in [C2, C4, C6] {
        f.checked(law, count);
    }
    records::defects(index, "frame", C2, "a strict decoder takes every record", f);
    records::defects(index, "schema", C2, "a strict decoder takes every record", f);
    records::defects(index, "crc", C4, "checksum and CRC header fit every record", f);
    records::defects(index, "compression", C6, "the compression settings are honoured", f);
    settings(index, f);
    decodes(index, f);
}

/// Above this, text such as the harness offers always gets smaller by zstd; a subject may leave a
/// shorter payload plain because compressing it gains nothing.
const GAINS: usize = 400;

/// C6: what is over the threshold is compressed, and nothing else.
fn settings(index: &Index<'_>, f: &mut Findings) {
    let settings = &index.settings.compression;
    let (enabled, threshold) = (settings.enabled, settings.threshold);
    for log in index.logs.iter().filter(|log| log.route == Route::Main) {
        for record in log.records {
            let Some(frame) = record.frame else { continue };
            let due = enabled && frame.payload > threshold;
            let evidence = || {
                let slot = record.events.first().and_then(|id| index.slot(*id));
                slot.map_or_else(Evidence::default, Evidence::event)
            };
            let found = || {
                let shape = if frame.zstd { "compressed" } else { "plain" };
                format!("a {shape} frame of {} protobuf bytes", frame.payload)
            };
            f.checked(C6, 1);
            if frame.zstd && !due {
                f.broken(C6, "needless", evidence(), || (rule(enabled, threshold), found()));
            } else if !frame.zstd && due && frame.payload > GAINS {
                f.broken(C6, "missed", evidence(), || (rule(enabled, threshold), found()));
            }
        }
    }
}

fn rule(enabled: bool, threshold: usize) -> String {
    if enabled {
        format!("payloads over {threshold} bytes are compressed, others are plain")
    } else {
        "no payload is compressed".to_owned()
    }
}

/// `codec.decode` calls come in the order of the actions' times, then of the file.
fn decodes(index: &Index<'_>, f: &mut Findings) {
    let mut wanted = Vec::new();
    for action in &index.scenario.actions {
        if let ActionKind::Decode { accept, .. } = action.kind {
            let At::Time(at) = action.at else {
                f.unjudged(C2, "a decode that is not placed by time cannot be told from others");
                return;
            };
            wanted.push((at, accept));
        }
    }
    wanted.sort_by_key(|(at, _)| *at);
    let calls = index.calls.iter().filter(|call| call.op == "codec.decode");
    for (call, (_, accept)) in calls.zip(wanted) {
        decode(call, accept, f);
    }
}

fn decode(call: &Call<'_>, accept: bool, f: &mut Findings) {
    let Some(returned) = call.returned else { return };
    let evidence = || Evidence::line(call.at).and(returned.at);
    f.checked(C2, 1);
    match (accept, returned.error) {
        // Not an answer about the frame at all.
        (_, Some(error)) if error.starts_with("unsupported") => {
            f.unjudged(C2, "the subject does not decode frames");
        }
        (true, Some(error)) => f.broken(C2, "refused", evidence(), || {
            ("a well-formed frame decodes".to_owned(), format!("the error: {error}"))
        }),
        (false, None) => f.broken(C2, "taken", evidence(), || {
            let expected = "a frame that is not what it should be is refused".to_owned();
            (expected, "it decoded".to_owned())
        }),
        (false, Some(error)) if error.starts_with("panic") => {
            f.broken(C2, "panicked", evidence(), || {
                let expected = "a bad frame is refused with a typed error".to_owned();
                (expected, format!("the decoder panicked: {error}"))
            });
        }
        (true, None) | (false, Some(_)) => {}
    }
}
