//! Damage to a spool's files, as a medium or a foreign hand does it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dashproof_reference::spool::{MAGIC, VERSION};

use crate::scenario::model::SpoolDamage;

/// The file to write, with its new content; `None` when there is no segment to damage.
#[must_use]
pub fn damage(
    what: SpoolDamage,
    segments: &BTreeMap<PathBuf, Vec<u8>>,
) -> Option<(PathBuf, Vec<u8>)> {
    let (first, bytes) = segments.first_key_value()?;
    match what {
        SpoolDamage::TornTail => {
            let (last, bytes) = segments.last_key_value()?;
            let left = bytes.len().checked_sub(5)?;
            Some((last.clone(), bytes.get(..left)?.to_vec()))
        }
        SpoolDamage::FlippedBit => {
            let mut bytes = bytes.clone();
            let middle = bytes.len() / 2;
            *bytes.get_mut(middle)? ^= 0x10;
            Some((first.clone(), bytes))
        }
        SpoolDamage::ForeignFile => {
            Some((first.with_file_name("notes.txt"), b"not the spool's".to_vec()))
        }
        SpoolDamage::NewerVersion => {
            let generation = u64::MAX >> 1;
            let fields: [&[u8]; 4] = [
                &MAGIC,
                &(VERSION + 1).to_le_bytes(),
                &generation.to_le_bytes(),
                &0_u32.to_le_bytes(),
            ];
            let mut bytes = fields.concat();
            let crc = crc32fast::hash(&bytes);
            bytes.extend(crc.to_le_bytes());
            bytes.extend(b"whatever a later version writes");
            Some((first.with_file_name(format!("{generation:016x}.spool")), bytes))
        }
    }
}
