//! What holds for every state, every change and every limit.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::generate::{apply, change, state};
use crate::proto::StateDiff;
use crate::state::builder::Builder;
use crate::state::tree::Grain;
use crate::state::{DiffApplier, DiffConfig, DiffTracker, Diffed, canonical_json, state_hash};

/// The definition, by other means: sorted maps and `serde_json`'s own text.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().map(|(k, v)| (k.as_bytes(), (k, v))).collect();
            let entry = |(key, value): (&String, &Value)| {
                format!("{}:{}", serde_json::to_string(key).unwrap(), canonical(value))
            };
            let entries: Vec<_> = sorted.into_values().map(entry).collect();
            format!("{{{}}}", entries.join(","))
        }
        other => serde_json::to_string(other).unwrap(),
    }
}

fn limits() -> impl Strategy<Value = DiffConfig> {
    let windows = prop::sample::select(&[256, 400, 1000, 5000, 4 << 20][..]);
    let budgets = prop::sample::select(&[0, 256, 700, 2000, 10_000, 2 << 20][..]);
    (windows, budgets).prop_map(|(window_bytes, digest_budget_bytes)| DiffConfig {
        digest_budget_bytes,
        window_bytes,
        ..DiffConfig::default()
    })
}

fn full_size(state: &Value) -> usize {
    let full_state = canonical(state).into_bytes();
    StateDiff { full_state, state_hash: vec![0; 32], ..StateDiff::default() }.encoded_len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn canonical_text_and_hash_are_those_of_the_definition_in_any_window(
        state in state(),
        config in limits(),
    ) {
        let text = canonical(&state);
        let ours = canonical_json(&state, &config).unwrap();
        prop_assert_eq!(String::from_utf8(ours).unwrap(), text.clone());
        let hash: [u8; 32] = Sha256::digest(text).into();
        prop_assert_eq!(state_hash(&state, &config).unwrap(), hash);
    }

    #[test]
    fn every_diff_applied_to_its_base_gives_the_next_state_and_its_hash(
        mut state in state(),
        changes in prop::collection::vec((change(), any::<bool>()), 1..6),
        config in limits(),
    ) {
        let mut tracker = DiffTracker::new(config);
        let mut receiver = DiffApplier::new(config);
        for (change, twice) in changes {
            for _ in 0..=u8::from(twice) {
                match tracker.diff(&state) {
                    Diffed::Patch { diff, .. } => {
                        prop_assert!(diff.full_state.is_empty());
                        prop_assert!(diff.encoded_len() < full_size(&state));
                        prop_assert_eq!(receiver.apply(&diff).unwrap(), &state);
                    }
                    Diffed::Full { diff, .. } => {
                        prop_assert_eq!(&diff.full_state, &canonical(&state).into_bytes());
                        prop_assert_eq!(receiver.apply(&diff).unwrap(), &state);
                    }
                    Diffed::Unchanged => prop_assert_eq!(receiver.state(), Some(&state)),
                    Diffed::Degraded(error) => prop_assert!(false, "{}", error),
                }
                prop_assert!(
                    tracker.retained_bytes() as u64 <= config.digest_budget_bytes + 512
                );
            }
            apply(&mut state, &change);
        }
    }

    #[test]
    fn a_tree_does_not_depend_on_how_the_text_is_cut(
        state in state(),
        cuts in prop::collection::vec(1_usize..200, 1..20),
        budget in prop::sample::select(&[256_usize, 1000, 1 << 20][..]),
    ) {
        let text = canonical(&state);
        let grain = Grain { bytes: 64, budget };
        let mut whole = Builder::new(grain);
        whole.push(text.as_bytes());
        let mut pieces = Builder::new(grain);
        let mut rest = text.as_bytes();
        for cut in cuts.iter().cycle() {
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(whole.finish(), pieces.finish());
    }
}
