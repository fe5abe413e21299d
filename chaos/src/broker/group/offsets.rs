//! Offsets that groups have committed.

use super::{Groups, Phase};
use crate::broker::codes;

/// Kafka's `offset.metadata.max.bytes`.
const MAX_METADATA: usize = 4_096;

/// Offsets of all groups together that are kept. The one that was committed first is forgotten for
/// one more, as Kafka forgets them in time.
const MOST_OFFSETS: usize = 10_000;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) epoch: i32,
    pub(crate) metadata: String,
}

impl Groups {
    /// Says whether this client may commit for the group: a member of the current generation, or
    /// anybody (generation below 0) while the group has no members.
    ///
    /// # Errors
    /// The Kafka error code.
    pub(crate) fn may_commit(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
        now_us: u64,
    ) -> Result<(), i16> {
        if generation < 0 && self.group(group, now_us).is_none() {
            return self.group_or_new(group, now_us).map(|_| ());
        }
        let group = self.group(group, now_us).ok_or(codes::ILLEGAL_GENERATION)?;
        if generation < 0 && group.phase == Phase::Empty {
            return Ok(());
        }
        group.of(member, generation)?.heard(now_us);
        match group.phase {
            Phase::Assigning(_) => Err(codes::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }

    /// Keeps an offset of a partition that is there.
    ///
    /// # Errors
    /// The Kafka error code.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        (topic, partition): (&str, i32),
        committed: Committed,
    ) -> Result<(), i16> {
        if committed.metadata.len() > MAX_METADATA {
            return Err(codes::OFFSET_METADATA_TOO_LARGE);
        }
        let number = self.next;
        let of = self.by_name.get_mut(group).ok_or(codes::UNKNOWN_MEMBER_ID)?;
        let place = (topic.to_owned(), partition);
        if let Some((before, _)) = of.offsets.insert(place.clone(), (number, committed)) {
            self.commits.remove(&before);
        }
        self.next += 1;
        self.commits.insert(number, (group.to_owned(), place));
        if self.commits.len() > MOST_OFFSETS {
            self.forget_first();
        }
        Ok(())
    }

    /// Forgets the offset that was committed first.
    fn forget_first(&mut self) {
        let Some((_, (name, place))) = self.commits.pop_first() else { return };
        let Some(group) = self.by_name.get_mut(&name) else { return };
        group.offsets.remove(&place);
        if group.is_dead() {
            self.by_name.remove(&name);
        }
    }

    /// Forgets the group without members whose last commit is the oldest; false when there is none.
    pub(super) fn forget_oldest(&mut self) -> bool {
        let idle = self.by_name.iter().filter(|(_, group)| group.is_idle());
        let oldest = idle.min_by_key(|(_, group)| group.offsets.values().map(|(n, _)| *n).max());
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return false };
        let gone = self.by_name.remove(&name).unwrap_or_default();
        for (number, _) in gone.offsets.values() {
            self.commits.remove(number);
        }
        true
    }

    /// What the group has committed for a partition.
    pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        let found = self.by_name.get(group)?.offsets.get(&(topic.to_owned(), partition))?;
        Some(&found.1)
    }

    /// Every partition that the group has committed for, by topic.
    pub(crate) fn partitions(&self, group: &str) -> Vec<(String, Vec<i32>)> {
        let mut out: Vec<(String, Vec<i32>)> = Vec::new();
        let offsets = self.by_name.get(group).into_iter().flat_map(|g| g.offsets.keys());
        for (topic, partition) in offsets {
            match out.last_mut().filter(|(last, _)| last == topic) {
                Some((_, partitions)) => partitions.push(*partition),
                None => out.push((topic.clone(), vec![*partition])),
            }
        }
        out
    }
}
