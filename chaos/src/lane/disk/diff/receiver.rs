//! The harness's own receiver of state diffs: it applies what it is sent, by the letter of
//! RFC 6902, and knows what it has. Nothing of the subject's is used.

use dashproof_reference::proto::{DiffOperation, OpType, StateDiff, ValueEncoding};
use serde_json::{Map, Value};

use super::make::{hex, sha};
use crate::subject::state::canonical;

/// One thread's.
#[derive(Default)]
pub(super) struct Receiver {
    here: Option<(String, Value)>,
}

impl Receiver {
    /// SHA-256 of the state that it has, in hex; empty when it has none.
    pub(super) fn sha(&self) -> String {
        self.here.as_ref().map(|(sha, _)| sha.clone()).unwrap_or_default()
    }

    /// Takes a message.
    ///
    /// # Errors
    /// Why it cannot follow; it then has what it had before.
    pub(super) fn take(&mut self, diff: &StateDiff) -> Result<(), String> {
        let state = if diff.full_state.is_empty() {
            self.patched(diff)?
        } else {
            read(&diff.full_state, "the full state")?
        };
        let (found, sent) = (sha(&canonical(&state)), hex(&diff.state_hash));
        if found != sent {
            let (found, sent) = (short(&found), short(&sent));
            return Err(format!("what comes out is {found}, and the message says {sent}"));
        }
        self.here = Some((found, state));
        Ok(())
    }

    fn patched(&self, diff: &StateDiff) -> Result<Value, String> {
        let base = hex(&diff.base_checkpoint_id);
        let Some((here, state)) = &self.here else {
            return Err(format!("a patch on {}, and there is no state here", short(&base)));
        };
        if *here != base {
            let (base, here) = (short(&base), short(here));
            return Err(format!("a patch on {base}, and the state here is {here}"));
        }
        let operations: Vec<Value> =
            diff.operations.iter().map(operation).collect::<Result<_, _>>()?;
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations))
            .map_err(|error| format!("the operations are no RFC 6902 patch: {error}"))?;
        let mut state = state.clone();
        json_patch::patch(&mut state, &patch)
            .map_err(|error| format!("the patch does not fit: {error}"))?;
        Ok(state)
    }
}

/// As much of a hash as people can compare.
fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

/// An operation as RFC 6902 writes it.
fn operation(operation: &DiffOperation) -> Result<Value, String> {
    let DiffOperation { path, value, from, .. } = operation;
    let (op, named) = match operation.op() {
        OpType::Add => ("add", "value"),
        OpType::Replace => ("replace", "value"),
        OpType::Test => ("test", "value"),
        OpType::Move => ("move", "from"),
        OpType::Copy => ("copy", "from"),
        OpType::Remove => ("remove", ""),
    };
    let mut out = Map::new();
    out.insert("op".to_owned(), op.into());
    out.insert("path".to_owned(), path.clone().into());
    if named == "value" {
        if operation.encoding() != ValueEncoding::Json {
            return Err(format!("the value at `{path}` is not in JSON"));
        }
        out.insert(named.to_owned(), read(value, path)?);
    } else if named == "from" {
        out.insert(named.to_owned(), from.clone().into());
    }
    Ok(Value::Object(out))
}

fn read(json: &[u8], what: &str) -> Result<Value, String> {
    serde_json::from_slice(json).map_err(|error| format!("`{what}` is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hash(value: &Value) -> Vec<u8> {
        use sha2::Digest as _;
        sha2::Sha256::digest(canonical(value)).to_vec()
    }

    fn full(value: &Value) -> StateDiff {
        StateDiff {
            state_hash: hash(value),
            full_state: canonical(value).into_bytes(),
            ..StateDiff::default()
        }
    }

    fn replace(base: &Value, next: &Value, path: &str, value: &Value) -> StateDiff {
        let op = DiffOperation {
            op: OpType::Replace.into(),
            path: path.to_owned(),
            value: value.to_string().into_bytes(),
            encoding: ValueEncoding::Json.into(),
            ..DiffOperation::default()
        };
        StateDiff {
            base_checkpoint_id: hash(base),
            operations: vec![op],
            state_hash: hash(next),
            ..StateDiff::default()
        }
    }

    #[test]
    fn a_full_state_and_a_patch_on_it_are_followed() {
        let (one, two) = (json!({"b": 1, "a": [1.5]}), json!({"b": 2, "a": [1.5]}));
        let mut receiver = Receiver::default();
        receiver.take(&full(&one)).unwrap();
        receiver.take(&replace(&one, &two, "/b", &json!(2))).unwrap();
        assert_eq!(receiver.sha(), hex(&hash(&two)));
    }

    #[test]
    fn what_cannot_be_followed_changes_nothing() {
        let (one, two) = (json!({"b": 1}), json!({"b": 2}));
        let mut receiver = Receiver::default();
        let refused = |receiver: &mut Receiver, diff| receiver.take(&diff).unwrap_err();
        let patch = replace(&one, &two, "/b", &json!(2));
        assert!(refused(&mut receiver, patch.clone()).contains("there is no state here"));
        assert_eq!(receiver.sha(), "");
        receiver.take(&full(&two)).unwrap();
        assert!(refused(&mut receiver, patch).contains("the state here is"));
        let lies = replace(&two, &two, "/b", &json!(3));
        assert!(refused(&mut receiver, lies).contains("what comes out"));
        let astray = replace(&two, &one, "/c/d", &json!(1));
        assert!(refused(&mut receiver, astray).contains("does not fit"));
        assert_eq!(receiver.sha(), hex(&hash(&two)));
    }
}
