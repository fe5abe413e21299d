//! The small machines on their own.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::proto::dash_stream_message::Message;
use crate::proto::{DashStreamMessage, Event, Header};

#[test]
fn the_error_table_is_sorted_and_names_each_code_once() {
    let codes: Vec<i32> = errors::RULES.iter().map(|r| r.code).collect();
    let mut sorted = codes.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(codes, sorted);
}

#[test]
fn codes_have_the_class_that_kafka_and_the_contract_give_them() {
    use ErrorClass::{Fatal, Permanent, Retryable};
    for (code, class) in [
        (2, Retryable),
        (3, Retryable),
        (6, Retryable),
        (20, Retryable),
        (-192, Retryable),
        (10, Permanent),
        (32, Permanent),
        (44, Permanent),
        (-1, Permanent),
        (45, Fatal),
        (-150, Fatal),
    ] {
        assert_eq!(errors::class(code), class, "{code} {}", errors::name(code));
    }
}

#[test]
fn only_legal_combinations_of_outcome_and_reason_are_listed_and_all_of_them() {
    let listed: Vec<String> = Tally::default()
        .cells()
        .map(|(outcome, reason, _)| format!("{outcome}/{}", reason.map_or("", Reason::as_str)))
        .collect();
    insta::assert_snapshot!(listed.join("\n"));
}

#[test]
fn a_thousand_and_more_tenants_share_the_buckets_that_are_left() {
    let mut limiter = super::limiter::Limiter::new(Some(1.0), 1, "default");
    for n in 0..3000 {
        limiter.take(ms(0), &format!("tenant {n}"));
    }
    let counts: Vec<_> = limiter.counts().collect();
    assert_eq!(counts.len(), 1025);
    let other = counts.iter().find(|(t, _)| t.as_ref() == OTHER_TENANTS).unwrap();
    assert_eq!(other.1.allowed + other.1.exceeded, 3000 - 1023);
}

#[test]
fn the_store_walks_in_acceptance_order_whatever_is_removed_and_looks_at_each_deadline_once() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    for _ in 0..4 {
        pair.send("a");
        pair.run(ms(10));
    }
    let open = pair.main().open.clone();
    pair.deliver(open[1], Persistence::Persisted, 0);
    pair.send("b");
    let numbers: Vec<u64> = pair.core.store.keys().map(|k| k.number).collect();
    assert_eq!(numbers, [1, 3, 4, 5]);
    let due: Vec<u64> =
        std::iter::from_fn(|| pair.core.store.overdue(ms(9030))).map(|k| k.number).collect();
    assert_eq!(due, [1, 3, 4]);
    assert_eq!(pair.core.store.next_deadline(), Some(ms(9040)));
}

proptest! {
    /// The size that the core computes is the size that the encoder writes.
    #[test]
    fn a_measure_is_exact_for_every_sequence(
        thread in "[a-z]{0,200}",
        node in "[a-z]{0,40000}",
        sequence in prop_oneof![0..200u64, any::<u64>(), (0..64u32).prop_map(|s| 1 << s)],
    ) {
        let mut header = Header { thread_id: thread, ..Header::default() };
        let message = |header: Header| {
            let event = Event { header: Some(header), node_id: node.clone(), ..Event::default() };
            DashStreamMessage { message: Some(Message::Event(event)) }
        };
        let measure = Measure {
            message: message(header.clone()).encoded_len(),
            header: header.encoded_len(),
        };
        header.sequence = sequence;
        prop_assert_eq!(measure.with_sequence(sequence), message(header).encoded_len());
    }

    /// Back-offs never leave their bounds.
    #[test]
    fn a_back_off_lies_between_its_plain_value_and_its_jitter(
        base in 1..10_000u64, cap in 1..100_000u64, jitter in 0.0..=1.0f64,
        attempts in 1..100u32, seed: u64,
    ) {
        let (base, cap) = (ms(base.min(cap)), ms(cap));
        let policy = super::retry::Policy {
            max_attempts: 3, base, cap, jitter, retry_possibly_persisted: false,
        };
        let got = policy.back_off(attempts, &mut fastrand::Rng::with_seed(seed));
        let plain = base.saturating_mul(1 << (attempts - 1).min(31)).min(cap);
        prop_assert!(got >= plain && got <= plain + plain.mul_f64(jitter), "{:?}", got);
    }
}
