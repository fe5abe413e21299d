//! The version of the state's schema, and the way from older ones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::damage::Fault;
use super::error::ErrorKind;
use super::value::Value;

type Step = Arc<dyn Fn(Value) -> Result<Value, String> + Send + Sync>;

/// A schema version and a chain of migrations that lead to it, one version at a time.
#[derive(Clone)]
pub struct Schema {
    version: u32,
    steps: BTreeMap<u32, Step>,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from: Vec<u32> = self.steps.keys().copied().collect();
        f.debug_struct("Schema").field("version", &self.version).field("from", &from).finish()
    }
}

impl Default for Schema {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Schema {
    /// States are written, and by default read, under this version only.
    #[must_use]
    pub fn new(version: u32) -> Self {
        Self { version, steps: BTreeMap::new() }
    }

    /// Adds the step from version `from` to `from + 1`. What it gives is the next step's argument;
    /// after the last, it must make a state of the present type. An `Err` fails the load with
    /// [`ErrorKind::MigrationFailed`]; the file stays as it is.
    #[must_use]
    pub fn migrate(
        mut self,
        from: u32,
        step: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        self.steps.insert(from, Arc::new(step));
        self
    }

    /// The version that is written.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether a state of this version needs migrations; an error when it is newer.
    pub(super) fn is_older(&self, found: u32) -> Result<bool, Fault> {
        if found > self.version {
            let kind = ErrorKind::SchemaMismatch { found, supported: self.version };
            let message = format!(
                "the state has schema version {found}, this reader knows up to {}; upgrade it",
                self.version
            );
            return Err(Fault::Reader(kind, message));
        }
        Ok(found < self.version)
    }

    /// Takes a value of an older version through the chain.
    pub(super) fn migrated(&self, mut value: Value, found: u32) -> Result<Value, Fault> {
        for from in found..self.version {
            let failed = |message: String| {
                let kind = ErrorKind::MigrationFailed { from, to: from + 1 };
                Fault::Reader(kind, message)
            };
            let step = self.steps.get(&from).ok_or_else(|| {
                failed(format!(
                    "no migration from schema version {from}: add it with Schema::migrate"
                ))
            })?;
            value = step(value).map_err(failed)?;
        }
        Ok(value)
    }
}
