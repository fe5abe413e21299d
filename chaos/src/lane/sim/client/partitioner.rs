//! librdkafka's default partitioner, `consistent_random`: the same key goes to the same partition
//! through either transport, so that a scenario means the same on every lane.

use super::state::Partition;

/// Chooses a partition: CRC-32 of a non-empty key modulo all partitions; without a key any
/// partition, those with a leader first. `partitions` must not be empty.
pub(super) fn choose(
    key: Option<&[u8]>,
    partitions: &[Partition],
    rng: &mut fastrand::Rng,
) -> usize {
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        return crc32fast::hash(key) as usize % partitions.len();
    }
    let led: Vec<usize> = (0..partitions.len())
        .filter(|&i| partitions.get(i).is_some_and(|p| p.leader.is_some()))
        .collect();
    let any = rng.usize(..partitions.len());
    if led.is_empty() { any } else { led.get(any % led.len()).copied().unwrap_or(any) }
}
