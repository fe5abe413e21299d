//! The receiver's side of a thread's chain of state diffs.

use serde_json::{Map, Value};
use thiserror::Error;

use super::DiffConfig;
use super::canonical::state_hash;
use super::error::StateError;
use crate::proto::{DiffOperation, OpType, StateDiff, ValueEncoding};

/// Why a diff was not applied. The receiver's state is as before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A patch came, and there is no state to start from.
    #[error("a patch came first: wait for a full state, or adopt the checkpoint {base}")]
    NoBase {
        /// The base that the patch names, in hex.
        base: String,
    },
    /// The patch starts from another state: a diff in between is missing.
    #[error(
        "the patch starts from {base}, the state here is {here}: a diff is missing, wait for a \
         full state"
    )]
    WrongBase {
        /// The base that the patch names, in hex.
        base: String,
        /// The state that is here, in hex.
        here: String,
    },
    /// The message is no diff.
    #[error("malformed diff: {0}")]
    Malformed(String),
    /// An operation cannot be done.
    #[error("the patch does not fit the state: {0}")]
    Patch(#[from] json_patch::PatchError),
    /// The result is no state.
    #[error("the new state cannot be hashed: {0}")]
    State(#[from] StateError),
    /// The result is another state than the sender's.
    #[error("the new state's hash is {found}, the sender's {sent}: wait for a full state")]
    WrongHash {
        /// What the result has, in hex.
        found: String,
        /// What the message says, in hex.
        sent: String,
    },
}

/// Follows a chain of state diffs, and knows when it cannot.
///
/// Every step checks the base that a patch names and the hash of the result. `serde_json` must be
/// built with `float_roundtrip` on this side, or some floats are read wrong by one bit.
#[derive(Debug)]
pub struct DiffApplier {
    config: DiffConfig,
    here: Option<(Vec<u8>, Value)>,
}

impl DiffApplier {
    /// A receiver that has no state yet. The limits are those of [`state_hash`].
    #[must_use]
    pub fn new(config: DiffConfig) -> Self {
        Self { config, here: None }
    }

    /// Starts from a checkpoint that was read elsewhere.
    pub fn adopt(&mut self, checkpoint_id: &[u8], state: Value) {
        self.here = Some((checkpoint_id.to_vec(), state));
    }

    /// The state as of the last diff that was applied.
    #[must_use]
    pub fn state(&self) -> Option<&Value> {
        self.here.as_ref().map(|(_, state)| state)
    }

    /// Applies a diff and answers the new state.
    ///
    /// # Errors
    /// [`ApplyError`]; the state is as before.
    pub fn apply(&mut self, diff: &StateDiff) -> Result<&Value, ApplyError> {
        let state = if diff.full_state.is_empty() {
            self.patched(diff)?
        } else {
            read(&diff.full_state, "full_state")?
        };
        let found = state_hash(&state, &self.config)?;
        if found.as_slice() != diff.state_hash {
            let (found, sent) = (hex(&found), hex(&diff.state_hash));
            return Err(ApplyError::WrongHash { found, sent });
        }
        let (_, state) = self.here.insert((found.to_vec(), state));
        Ok(state)
    }

    fn patched(&self, diff: &StateDiff) -> Result<Value, ApplyError> {
        let base = &diff.base_checkpoint_id;
        let Some((here, state)) = &self.here else {
            return Err(ApplyError::NoBase { base: hex(base) });
        };
        if here != base {
            return Err(ApplyError::WrongBase { base: hex(base), here: hex(here) });
        }
        let operations = diff.operations.iter().map(operation).collect::<Result<Vec<_>, _>>()?;
        let mut state = state.clone();
        json_patch::patch(&mut state, &operations)?;
        Ok(state)
    }
}

/// An operation in the library's form.
fn operation(operation: &DiffOperation) -> Result<json_patch::PatchOperation, ApplyError> {
    let at = || format!("operation at `{}`", operation.path);
    let op = OpType::try_from(operation.op);
    let op = op.map_err(|_| ApplyError::Malformed(format!("{}: unknown kind", at())))?;
    let mut object = Map::new();
    object.insert("op".to_owned(), name(op).into());
    object.insert("path".to_owned(), operation.path.clone().into());
    match op {
        OpType::Add | OpType::Replace | OpType::Test => {
            if operation.encoding() != ValueEncoding::Json {
                return Err(ApplyError::Malformed(format!("{}: a value not in JSON", at())));
            }
            object.insert("value".to_owned(), read(&operation.value, &at())?);
        }
        OpType::Move | OpType::Copy => {
            object.insert("from".to_owned(), operation.from.clone().into());
        }
        OpType::Remove => {}
    }
    serde_json::from_value(Value::Object(object))
        .map_err(|error| ApplyError::Malformed(format!("{}: {error}", at())))
}

fn name(op: OpType) -> &'static str {
    match op {
        OpType::Add => "add",
        OpType::Remove => "remove",
        OpType::Replace => "replace",
        OpType::Move => "move",
        OpType::Copy => "copy",
        OpType::Test => "test",
    }
}

fn read(json: &[u8], what: &str) -> Result<Value, ApplyError> {
    serde_json::from_slice(json).map_err(|error| ApplyError::Malformed(format!("{what}: {error}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
