//! One contract, two transports: rdkafka and the simulator's client against the same model broker.
//!
//! A scenario means the same on both lanes only if both clients retry, give up and claim alike. Each
//! test is one sentence of the contract, run over both transports on loopback TCP.
#![cfg(test)]

#[path = "transport_contract/rig.rs"]
mod rig;

use std::time::Duration;

use dashproof::scenario::model::{Brokers, FaultKind, TopicSel};
use dashproof_reference::config::{Acks, PolicyViolation, ProducerConfig};
use dashproof_reference::core::{ErrorClass, Persistence, Route};
use rig::{Make, Rig, error, ms};

/// Writes each test twice.
macro_rules! contract {
    ($($(#[$doc:meta])* async fn $name:ident($rig:ident: Make) $body:block)+) => {
        $($(#[$doc])* async fn $name($rig: Make) $body)+

        mod sim {
            $(#[tokio::test] async fn $name() { super::$name(super::rig::sim).await })+
        }

        mod rdkafka {
            $(#[tokio::test] async fn $name() { super::$name(super::rig::rdkafka).await })+
        }
    };
}

/// Attempts of two seconds, no lingering to speak of.
fn plain(config: &mut ProducerConfig) {
    config.attempt_timeout = Some(ms(2000));
    config.linger = ms(5);
}

fn without_idempotence(config: &mut ProducerConfig) {
    plain(config);
    config.idempotence = false;
}

fn all_down() -> FaultKind {
    FaultKind::BrokerDown { brokers: Brokers::All }
}

fn acks_lost() -> FaultKind {
    FaultKind::NetPartition { brokers: Brokers::All, requests: false, responses: true }
}

fn reset() -> FaultKind {
    FaultKind::NetReset { brokers: Brokers::All }
}

contract! {
    async fn an_acknowledged_record_is_persisted_where_the_delivery_says(make: Make) {
        let rig = Rig::new(make, plain, vec![]).await;
        rig.submit(1, b"key");
        let delivery = rig.delivery().await;
        assert_eq!(delivery.result, Ok(()));
        assert_eq!(delivery.persistence, Persistence::Persisted);
        assert_eq!(rig.places(1), [(delivery.partition, delivery.offset)]);
    }

    async fn the_same_key_goes_to_the_partition_of_its_crc(make: Make) {
        let rig = Rig::new(make, plain, vec![]).await;
        for (attempt, key) in [(1, "t0"), (2, "t1"), (3, "some other thread"), (4, "t0")] {
            rig.submit(attempt, key.as_bytes());
            let expected = i32::try_from(crc32fast::hash(key.as_bytes()) % 3).unwrap();
            assert_eq!(rig.delivery().await.partition, expected, "{key}");
        }
    }

    async fn waiting_for_brokers_happens_inside_the_attempt(make: Make) {
        let rig = Rig::new(make, plain, vec![all_down()]).await;
        rig.begin(0);
        rig.submit(1, b"key");
        rig.silence(ms(500)).await;
        rig.end(0);
        assert_eq!(rig.delivery().await.persistence, Persistence::Persisted);
    }

    async fn an_attempt_that_never_left_the_queue_times_out_as_not_persisted(make: Make) {
        let rig = Rig::new(make, plain, vec![all_down()]).await;
        rig.begin(0);
        rig.submit(1, b"key");
        let delivery = rig.delivery().await;
        assert_eq!(delivery.persistence, Persistence::Not);
        assert_eq!(delivery.result.unwrap_err().class, ErrorClass::Retryable);
        assert_eq!(rig.appended(1), 0);
    }

    async fn an_attempt_that_times_out_in_flight_is_possibly_persisted(make: Make) {
        let rig = Rig::new(make, plain, vec![acks_lost()]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        let delivery = rig.delivery().await;
        assert_eq!(delivery.persistence, Persistence::Possibly);
        assert_eq!(delivery.result.unwrap_err().class, ErrorClass::Retryable);
        assert_eq!(rig.appended(1), 1, "it is in the log");
    }

    async fn with_idempotence_a_lost_acknowledgement_is_asked_for_again_and_stored_once(make: Make) {
        let rig = Rig::new(make, plain, vec![acks_lost(), reset()]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        rig.silence(ms(400)).await;
        rig.begin(1);
        rig.end(0);
        let delivery = rig.delivery().await;
        assert_eq!(delivery.persistence, Persistence::Persisted);
        assert!(rig.transmissions(1) >= 2, "{}", rig.transmissions(1));
        assert_eq!(rig.appended(1), 1);
    }

    async fn with_idempotence_a_retryable_error_is_sent_again_inside_the_attempt(make: Make) {
        let rig = Rig::new(make, plain, vec![error(19, 2)]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        let delivery = rig.delivery().await;
        assert_eq!(delivery.persistence, Persistence::Persisted);
        assert_eq!((rig.transmissions(1), rig.appended(1)), (3, 1));
    }

    async fn without_idempotence_another_error_ends_the_attempt(make: Make) {
        let rig = Rig::new(make, without_idempotence, vec![error(19, 1)]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        let delivery = rig.delivery().await;
        let failure = delivery.result.unwrap_err();
        assert_eq!((failure.code, failure.class), (19, ErrorClass::Retryable));
        assert_eq!(delivery.persistence, Persistence::Not);
        assert_eq!((rig.transmissions(1), rig.appended(1)), (1, 0));
    }

    async fn without_idempotence_stale_metadata_is_no_end(make: Make) {
        for code in [3, 5, 6] {
            let rig = Rig::new(make, without_idempotence, vec![error(code, 1)]).await;
            rig.warm().await;
            rig.begin(0);
            rig.submit(1, b"key");
            let delivery = rig.delivery().await;
            assert_eq!(delivery.persistence, Persistence::Persisted, "after {code}");
            assert_eq!((rig.transmissions(1), rig.appended(1)), (2, 1), "after {code}");
        }
    }

    async fn an_error_after_the_append_leaves_it_possibly_persisted(make: Make) {
        let after = FaultKind::NotEnoughReplicas { topic: TopicSel::Main, after_append: true };
        let rig = Rig::new(make, without_idempotence, vec![after]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        let delivery = rig.delivery().await;
        assert_eq!(delivery.persistence, Persistence::Possibly);
        assert_eq!(delivery.result.unwrap_err().code, 20);
        assert_eq!(rig.appended(1), 1);
    }

    async fn without_idempotence_a_connection_lost_after_the_request_ends_the_attempt(make: Make) {
        let rig = Rig::new(make, without_idempotence, vec![acks_lost(), reset()]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        rig.silence(ms(300)).await;
        rig.begin(1);
        rig.end(0);
        let delivery = rig.delivery().await;
        assert_eq!(delivery.persistence, Persistence::Possibly);
        assert_eq!(delivery.result.unwrap_err().class, ErrorClass::Retryable);
        assert_eq!((rig.transmissions(1), rig.appended(1)), (1, 1));
    }

    async fn a_permanent_error_ends_the_attempt_at_once_and_the_next_record_is_stored(make: Make) {
        for settings in [plain, without_idempotence] {
            let rig = Rig::new(make, settings, vec![error(87, 1)]).await;
            rig.warm().await;
            rig.begin(0);
            rig.submit(1, b"key");
            let delivery = rig.delivery().await;
            let failure = delivery.result.unwrap_err();
            assert_eq!((failure.code, failure.class), (87, ErrorClass::Permanent));
            assert_eq!(delivery.persistence, Persistence::Not);
            rig.submit(2, b"key");
            assert_eq!(rig.delivery().await.persistence, Persistence::Persisted);
            assert_eq!((rig.appended(1), rig.appended(2)), (0, 1));
        }
    }

    async fn a_policy_violation_has_the_class_of_the_settings(make: Make) {
        let retryable = |config: &mut ProducerConfig| {
            without_idempotence(config);
            config.retry.policy_violation = PolicyViolation::Retryable;
        };
        for (settings, class) in [
            (without_idempotence as fn(&mut ProducerConfig), ErrorClass::Permanent),
            (retryable, ErrorClass::Retryable),
        ] {
            let rig = Rig::new(make, settings, vec![error(44, 1)]).await;
            rig.warm().await;
            rig.begin(0);
            rig.submit(1, b"key");
            assert_eq!(rig.delivery().await.result.unwrap_err().class, class);
        }
    }

    async fn a_record_over_the_clients_limit_is_refused_for_good(make: Make) {
        let small = |config: &mut ProducerConfig| {
            plain(config);
            config.max_message_bytes = 1000;
        };
        let rig = Rig::new(make, small, vec![]).await;
        let refused = rig.offer(1, b"key", 200_000).unwrap_err();
        assert_eq!((refused.code, refused.class), (10, ErrorClass::Permanent));
        rig.silence(ms(300)).await;
    }

    async fn a_batch_over_the_brokers_limit_is_a_permanent_failure(make: Make) {
        let limit = FaultKind::MessageMaxBytes { topic: TopicSel::Main, bytes: 2000 };
        let rig = Rig::new(make, plain, vec![limit]).await;
        rig.warm().await;
        rig.begin(0);
        rig.offer(1, b"key", 5000).unwrap();
        let failure = rig.delivery().await.result.unwrap_err();
        assert_eq!((failure.code, failure.class), (10, ErrorClass::Permanent));
        rig.offer(2, b"key", 500).unwrap();
        assert_eq!(rig.delivery().await.persistence, Persistence::Persisted);
    }

    async fn acks_0_is_delivered_without_a_word_of_the_broker(make: Make) {
        let blind = |config: &mut ProducerConfig| {
            without_idempotence(config);
            config.acks = Acks::None;
        };
        let rig = Rig::new(make, blind, vec![]).await;
        rig.submit(1, b"key");
        let delivery = rig.delivery().await;
        assert_eq!(delivery.result, Ok(()));
        assert_eq!((delivery.persistence, delivery.offset), (Persistence::Possibly, -1));
    }

    async fn a_purge_delivers_the_queue_as_not_and_the_flight_as_possibly(make: Make) {
        let one_by_one = |config: &mut ProducerConfig| {
            plain(config);
            config.attempt_timeout = Some(ms(8000));
            config.max_in_flight_requests = 1;
        };
        let rig = Rig::new(make, one_by_one, vec![acks_lost()]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        rig.silence(ms(500)).await;
        rig.submit(2, b"key");
        rig.silence(ms(300)).await;
        rig.transport.purge();
        let mut claims = rig.deliveries(2).await;
        claims.sort_by_key(|delivery| delivery.attempt);
        let claims: Vec<_> = claims.iter().map(|delivery| delivery.persistence).collect();
        assert_eq!(claims, [Persistence::Possibly, Persistence::Not]);
        assert_eq!((rig.appended(1), rig.appended(2)), (1, 0));
    }

    async fn a_purge_of_one_route_leaves_the_other_alone(make: Make) {
        let rig = Rig::new(make, plain, vec![all_down()]).await;
        let dlq = rig.client(Route::Dlq).await;
        rig.begin(0);
        rig.submit(1, b"key");
        rig.submit_to(&dlq, 2, b"key");
        rig.transport.purge();
        assert_eq!(rig.delivery().await.persistence, Persistence::Not);
        rig.end(0);
        let delivery = rig::delivery_of(dlq.as_ref()).await;
        assert_eq!(delivery.persistence, Persistence::Persisted);
    }

    async fn a_flush_hint_ends_the_lingering(make: Make) {
        let lingering = |config: &mut ProducerConfig| {
            plain(config);
            config.attempt_timeout = Some(ms(6000));
            config.linger = ms(4000);
        };
        let rig = Rig::new(make, lingering, vec![]).await;
        rig.warm().await;
        rig.submit(1, b"key");
        rig.silence(ms(200)).await;
        rig.transport.flush_hint();
        assert!(rig.within(ms(1500)).await.is_some(), "it lingers on");
    }

    async fn a_missing_topic_is_waited_for_inside_the_attempt(make: Make) {
        let missing = FaultKind::TopicMissing { topic: TopicSel::Main };
        let rig = Rig::new(make, plain, vec![missing]).await;
        rig.begin(0);
        rig.submit(1, b"key");
        rig.silence(ms(700)).await;
        rig.end(0);
        assert_eq!(rig.delivery().await.persistence, Persistence::Persisted);
    }

    async fn a_moved_leader_is_found_inside_the_attempt(make: Make) {
        let moved = FaultKind::LeaderMoved { topic: TopicSel::Main };
        let rig = Rig::new(make, plain, vec![moved]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        assert_eq!(rig.delivery().await.persistence, Persistence::Persisted);
        assert_eq!(rig.appended(1), 1);
    }

    async fn lost_idempotence_is_fatal_and_the_client_takes_no_more(make: Make) {
        let rig = Rig::new(make, plain, vec![error(45, 1)]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        let failure = rig.delivery().await.result.unwrap_err();
        assert_eq!((failure.code, failure.class), (45, ErrorClass::Fatal));
        assert!(rig.offer(2, b"key", 10).is_err());
    }

    async fn after_a_doubtful_end_the_next_records_are_stored_once_under_another_epoch(make: Make) {
        let rig = Rig::new(make, plain, vec![acks_lost()]).await;
        rig.warm().await;
        rig.begin(0);
        rig.submit(1, b"key");
        assert_eq!(rig.delivery().await.persistence, Persistence::Possibly);
        rig.end(0);
        rig.submit(2, b"key");
        assert_eq!(rig.delivery().await.persistence, Persistence::Persisted);
        let (doubtful, next) = (rig.producer_of(1), rig.producer_of(2));
        assert_ne!(doubtful, next, "the sequence of 1 may or may not be taken");
        assert_eq!((rig.appended(1), rig.appended(2)), (1, 1));
    }

    async fn every_accepted_attempt_is_delivered_exactly_once_and_truly(make: Make) {
        let (down, up) = (ms(300), ms(400));
        let flap = FaultKind::BrokerFlap { brokers: Brokers::All, down, up };
        let rig = Rig::new(make, plain, vec![flap]).await;
        rig.warm().await;
        rig.begin(0);
        for attempt in 0..200_u64 {
            let key = format!("t{}", attempt % 8);
            rig.submit(100 + attempt, key.as_bytes());
            if attempt % 20 == 0 {
                tokio::time::sleep(ms(50)).await;
            }
        }
        let deliveries = rig.deliveries(200).await;
        rig.end(0);
        rig.silence(ms(500)).await;
        let attempts: std::collections::BTreeSet<_> =
            deliveries.iter().map(|delivery| delivery.attempt).collect();
        assert_eq!(attempts.len(), 200);
        for delivery in deliveries {
            let copies = rig.appended(u32::try_from(delivery.attempt.0).unwrap());
            match delivery.persistence {
                Persistence::Not => assert_eq!(copies, 0, "{delivery:?}"),
                Persistence::Possibly => assert!(copies <= 1, "{delivery:?}"),
                Persistence::Persisted => assert_eq!(copies, 1, "{delivery:?}"),
            }
        }
    }

    async fn records_of_a_partition_keep_their_order_through_retransmissions(make: Make) {
        let rig = Rig::new(make, plain, vec![error(19, 3), reset()]).await;
        rig.warm().await;
        rig.begin(0);
        for attempt in 1..=60_u64 {
            rig.submit(attempt, b"key");
            tokio::time::sleep(ms(10)).await;
            if attempt == 30 {
                rig.begin(1);
            }
        }
        rig.deliveries(60).await;
        assert_eq!(rig.order(b"key"), (1..=60).collect::<Vec<u32>>());
    }

    async fn shutdown_leaves_nothing_behind_and_keeps_to_its_time(make: Make) {
        let rig = Rig::new(make, plain, vec![all_down()]).await;
        rig.begin(0);
        rig.submit(1, b"key");
        let started = std::time::Instant::now();
        rig.transport.purge();
        let delivery = rig.delivery().await;
        rig.transport.shutdown(Duration::from_secs(2)).await;
        assert_eq!(delivery.persistence, Persistence::Not);
        assert!(started.elapsed() < ms(2500));
        assert!(rig.offer(2, b"key", 10).is_err());
    }
}

/// The one deliberate difference: `NOT_LEADER` after a transmission. A leader that steps down may
/// have appended, and only the simulator's client says so.
#[tokio::test]
async fn the_sim_client_doubts_what_was_answered_not_leader() {
    let not_leader = FaultKind::RequestError {
        api: "Produce".to_owned(),
        code: 6,
        count: None,
        topic: TopicSel::Main,
        after_append: true,
    };
    let rig = Rig::new(rig::sim, plain, vec![not_leader]).await;
    rig.warm().await;
    rig.begin(0);
    rig.submit(1, b"key");
    let delivery = rig.delivery().await;
    assert_eq!(delivery.persistence, Persistence::Possibly);
    assert_eq!(rig.appended(1), 1);
}
