use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::history::{
    AtRest, CrashState, CrashTally, DamageSeen, DeliveryError, ErrorClass, EventId, FaultPhase,
    Found, FrameFacts, GivenBack, Kind, LogRecord, Outcome, Persistence, ProduceTruth, Route,
    SpoolFound, Src, StateAnswered, StateHeap, StateLost, StateOffered, StateReceived, StoreAnswer,
    StoreCall, Trouble, writer,
};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z_.]{1,12}", "\\PC{0,20}", Just("a\nb\"\\\u{7f}".into())]
}

fn shared() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

fn event() -> impl Strategy<Value = EventId> {
    any::<(u16, u32)>().prop_map(|(load, n)| EventId { load, n })
}

fn route() -> impl Strategy<Value = Route> {
    prop_oneof![Just(Route::Main), Just(Route::Dlq)]
}

fn persistence() -> impl Strategy<Value = Persistence> {
    prop_oneof![Just(Persistence::Not), Just(Persistence::Possibly), Just(Persistence::Persisted)]
}

fn error() -> impl Strategy<Value = DeliveryError> {
    let class = prop_oneof![
        Just(ErrorClass::Retryable),
        Just(ErrorClass::Permanent),
        Just(ErrorClass::Fatal)
    ];
    (any::<i32>(), class, shared(), why()).prop_map(|(code, class, reason, why)| DeliveryError {
        code,
        class,
        reason,
        why,
    })
}

fn why() -> impl Strategy<Value = Option<Trouble>> {
    prop_oneof![Just(None), Just(Some(Trouble::Tls)), Just(Some(Trouble::ClosedAtOnce))]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        shared().prop_map(|reason| Outcome::Rejected { reason }),
        any::<(i32, i64)>().prop_map(|(partition, offset)| Outcome::Acked { partition, offset }),
        (shared(), persistence()).prop_map(|(reason, main)| Outcome::DeadLettered { reason, main }),
        (persistence(), persistence()).prop_map(|(main, dlq)| Outcome::Spooled { main, dlq }),
        (shared(), persistence(), persistence()).prop_map(|(reason, main, dlq)| Outcome::InDoubt {
            reason,
            main,
            dlq
        }),
        shared().prop_map(|reason| Outcome::Dropped { reason }),
        Just(Outcome::LostInCrash),
    ]
}

fn produce() -> impl Strategy<Value = ProduceTruth> {
    let numbers = any::<(i32, i64, i16, i32, Option<i64>, Option<i16>, bool)>();
    (shared(), numbers, prop::collection::vec(prop::option::of(event()), 0..4)).prop_map(
        |(topic, (partition, pid, epoch, base_sequence, appended, answered, unknown), events)| {
            ProduceTruth {
                topic,
                partition,
                pid,
                epoch,
                base_sequence,
                events,
                appended,
                answered,
                unknown,
            }
        },
    )
}

fn record() -> impl Strategy<Value = LogRecord> {
    let numbers = any::<(i64, i64, i16, Option<u64>, usize)>();
    let events = prop::collection::vec(event(), 0..3);
    (numbers, events, shared(), prop::collection::vec(text(), 0..3)).prop_map(
        |((offset, pid, epoch, sequence, size), events, thread, defects)| LogRecord {
            letter: String::new(),
            offset,
            events,
            pid,
            epoch,
            thread,
            sequence,
            size,
            frame: sequence.map(|n| FrameFacts { payload: size, zstd: n % 2 == 0 }),
            defects,
        },
    )
}

fn called() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (text(), text(), text(), any::<u64>()).prop_map(|(scenario, text, run, seed)| Kind::Run {
            scenario,
            text: text.clone(),
            lane: "sim".into(),
            seed,
            subject: "reference".into(),
            run,
            environment: vec![("rustc".into(), text)],
        }),
        Just(Kind::Ready),
        (any::<(u64, Option<u64>)>(), text(), prop::option::of(event()))
            .prop_map(|((id, deadline_us), op, event)| Kind::Call { id, op, deadline_us, event }),
        (any::<u64>(), text(), prop::option::of(text()), any::<u64>(), why()).prop_map(
            |(id, op, error, n, why)| Kind::Return {
                id,
                op,
                error,
                why,
                answer: if n % 2 == 0 {
                    serde_json::Value::Null
                } else {
                    serde_json::json!({ "counts": { "acked": n } })
                },
            }
        ),
        (text(), any::<i64>(), text()).prop_map(|(what, value, text)| Kind::Proc {
            what,
            value,
            text
        }),
        (text(), text(), prop::option::of(text())).prop_map(|(op, path, error)| Kind::Fs {
            op,
            path,
            error
        }),
        (text(), any::<bool>()).prop_map(|(text, last)| Kind::Scrape { text, last }),
    ]
}

fn claimed() -> impl Strategy<Value = Kind> {
    let events = prop::collection::vec(event(), 0..3);
    prop_oneof![
        (event(), shared(), any::<usize>()).prop_map(|(event, thread, bytes)| Kind::Offered {
            event,
            thread,
            bytes
        }),
        (event(), any::<u64>()).prop_map(|(event, sequence)| Kind::Accepted { event, sequence }),
        (any::<u64>(), events, route()).prop_map(|(attempt, events, route)| Kind::Attempt {
            attempt,
            events,
            route
        }),
        (any::<u64>(), route(), error()).prop_map(|(attempt, route, error)| Kind::Refused {
            attempt,
            route,
            error
        }),
        (any::<(u64, i32, i64, bool)>(), route(), persistence(), prop::option::of(error()))
            .prop_map(|((attempt, partition, offset, late), route, persistence, error)| {
                Kind::Delivery { attempt, route, persistence, partition, offset, error, late }
            }),
        (event(), outcome(), why()).prop_map(|(event, outcome, why)| Kind::Outcome {
            event,
            outcome,
            why
        }),
    ]
}

fn shown() -> impl Strategy<Value = Kind> {
    let phase =
        prop_oneof![Just(FaultPhase::Begin), Just(FaultPhase::Effect), Just(FaultPhase::End)];
    prop_oneof![
        (any::<usize>(), text(), phase).prop_map(|(fault, name, phase)| Kind::Fault {
            fault,
            name,
            phase
        }),
        (
            any::<(i32, u64, i32, Option<i16>, Option<i16>)>(),
            text(),
            prop::collection::vec(produce(), 0..3)
        )
            .prop_map(|((broker, conn, correlation, answered, acks), api, produce)| {
                Kind::Request { broker, api, conn, correlation, produce, answered, acks }
            }),
        (shared(), prop::option::of(route()), any::<i32>(), prop::collection::vec(record(), 0..3))
            .prop_map(|(topic, route, partition, records)| Kind::Log {
                topic,
                route,
                partition,
                records
            }),
    ]
}

/// What a spool gave back.
fn spooled() -> impl Strategy<Value = Option<SpoolFound>> {
    let event = (any::<u16>(), any::<u32>()).prop_map(|(load, n)| EventId { load, n });
    let given = (event, any::<u64>(), persistence(), persistence());
    let given =
        given.prop_map(|(event, sequence, main, dlq)| GivenBack { event, sequence, main, dlq });
    let events = prop::collection::vec(given, 0..3);
    prop::option::of(
        (any::<u64>(), events).prop_map(|(epoch, events)| SpoolFound { epoch, events }),
    )
}

/// Stores: calls, answers and crash states.
fn stored() -> impl Strategy<Value = Kind> {
    let some = || prop::option::of(text());
    let found = (some(), some(), some(), prop::collection::vec((text(), text()), 0..3));
    let found = found.prop_map(|(id, sha, error, listed)| Found { id, sha, error, listed });
    let latest = prop::collection::btree_map(text(), found, 0..3);
    prop_oneof![
        (any::<(u64, Option<u64>)>(), text(), some(), some(), some(), some()).prop_map(
            |((call, keep), op, thread, id, sha, variant)| {
                Kind::StoreCall(StoreCall { call, op, thread, id, sha, keep, variant })
            }
        ),
        (any::<(u64, Option<u64>)>(), text(), some(), some(), some(), some(), text()).prop_map(
            |((call, count), op, error, id, thread, sha, text)| {
                let ids = vec![text.clone()];
                Kind::StoreAnswer(StoreAnswer {
                    call,
                    op,
                    error,
                    id,
                    thread,
                    sha,
                    ids,
                    count,
                    text,
                })
            }
        ),
        (text(), text(), text(), text(), text()).prop_map(|(thread, id, sha, path, by)| {
            Kind::AtRest(AtRest { thread, id, sha, path, by })
        }),
        (any::<usize>(), text(), text(), text(), text()).prop_map(
            |(fault, how, path, id, thread)| {
                Kind::DamageSeen(DamageSeen { fault, how, path, id, thread })
            }
        ),
        (any::<u64>(), text(), latest, some(), prop::collection::vec(text(), 0..2), spooled())
            .prop_map(|(ops, state, latest, error, left, spool)| {
                Kind::CrashState(CrashState { state, ops, latest, spool, error, left })
            }),
        any::<(u32, u32, u32, u32)>().prop_map(|(points, states, duplicates, sampled)| {
            let [points, states, duplicates, sampled] =
                [points, states, duplicates, sampled].map(u64::from);
            Kind::CrashTally(CrashTally { points, states, duplicates, sampled })
        }),
    ]
}

/// State diffs.
fn diffed() -> impl Strategy<Value = Kind> {
    let some = || prop::option::of(text());
    prop_oneof![
        (any::<(u64, u64, u64)>(), text(), text(), some()).prop_map(
            |((step, bytes, depth), thread, sha, defect)| {
                Kind::StateOffered(StateOffered { step, thread, bytes, depth, sha, defect })
            }
        ),
        (any::<(u64, u64)>(), text(), some(), text(), text(), text()).prop_map(
            |((step, bytes), what, reason, base, hash, text)| {
                let answer = StateAnswered { step, what, reason, base, hash, bytes, text };
                Kind::StateAnswered(answer)
            }
        ),
        (any::<(u64, bool)>(), text(), some(), text()).prop_map(
            |((step, event), message, error, sha)| {
                Kind::StateReceived(StateReceived { step, event, message, error, sha })
            }
        ),
        any::<(u64, u64, u64)>().prop_map(|(step, peak_kib, kept_kib)| {
            Kind::StateHeap(StateHeap { step, peak_kib, kept_kib })
        }),
        any::<u64>().prop_map(|step| Kind::StateLost(StateLost { step })),
    ]
}

/// Any history that a recorder can have written.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Line>> {
    let src = prop_oneof![
        Just(Src::Subject),
        Just(Src::Harness),
        Just(Src::Broker),
        Just(Src::Proxy),
        Just(Src::Fs),
        Just(Src::Os)
    ];
    let kind = prop_oneof![
        called().boxed(),
        claimed().boxed(),
        shown().boxed(),
        stored().boxed(),
        diffed().boxed()
    ];
    prop::collection::vec((any::<u64>(), any::<u32>(), src, kind), 1..20).prop_map(|lines| {
        let number = |(n, (t_us, inc, src, kind))| Line {
            v: FORMAT_VERSION,
            n: n as u64,
            t_us,
            inc,
            src,
            kind,
        };
        lines.into_iter().enumerate().map(number).collect()
    })
}

proptest! {
    #[test]
    fn what_the_writer_wrote_the_reader_reads(lines in histories()) {
        let text = writer::to_text(&lines).unwrap();
        prop_assert_eq!(read(text.as_bytes(), "events.jsonl").unwrap(), lines);
    }

    #[test]
    fn a_history_cut_anywhere_is_refused(
        lines in histories(), cut in any::<prop::sample::Index>()
    ) {
        let text = writer::to_text(&lines).unwrap();
        let cut = cut.index(text.len());
        let kept = &text.as_bytes()[..cut];
        match read(kept, "events.jsonl") {
            // An end that lacks only its line feed is whole.
            Ok(_) => prop_assert_eq!(cut, text.len() - 1),
            Err(
                ReadError::Truncated { .. } | ReadError::Empty { .. } | ReadError::NoEnd { .. },
            ) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn a_line_that_is_left_out_repeated_or_edited_is_refused(
        lines in histories(), at in any::<prop::sample::Index>(), how in 0..3_u8
    ) {
        let text = writer::to_text(&lines).unwrap();
        let mut parts: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let at = at.index(lines.len());
        match how {
            0 => drop(parts.remove(at)),
            1 => parts.insert(at, parts[at].clone()),
            _ => parts[at] = parts[at].replacen("\"t_us\":", "\"t_us\":1", 1),
        }
        prop_assert!(read(parts.concat().as_bytes(), "events.jsonl").is_err());
    }

    #[test]
    fn any_bytes_give_lines_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes[..], "events.jsonl");
    }
}

const READY: &str = r#"{"v":1,"n":0,"t_us":0,"inc":0,"src":"harness","kind":"ready"}"#;

fn refused(text: &str) -> String {
    read(text.as_bytes(), "out/events.jsonl").unwrap_err().to_string()
}

#[test]
fn each_bad_line_is_refused_with_its_place_and_what_was_expected() {
    let kind = READY.replace("ready", "readi").replace(r#""n":0"#, r#""n":1"#);
    insta::assert_snapshot!(
        [
            refused(""),
            refused(&format!("{READY}\n{}", &READY[..30])),
            refused(&format!("{READY}\n{kind}\n")),
            refused(&format!("{READY}\n\n")),
            refused(&READY.replace(r#""v":1"#, r#""v":2"#)),
            refused(&format!("{READY}\n{READY}\n")),
            refused(r#"{"v":7,"everything":"else is new"}"#),
            refused(&format!("{READY}\n")),
            refused(&format!(
                "{READY}\n{{\"v\":1,\"end\":{{\"lines\":1,\"crc32\":\"00000000\"}}}}\n"
            )),
        ]
        .join("\n")
    );
}

#[test]
fn a_line_without_an_end_is_not_read_for_ever() {
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    let error = super::read_lines(endless, "zero", 1000).unwrap_err();
    assert!(matches!(error, ReadError::TooLong { line: 1, most: 1000, .. }), "{error}");
}
