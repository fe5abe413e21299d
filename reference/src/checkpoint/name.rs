//! File names: the order in front, digests of what the ids are, never the ids themselves.
//!
//! `<generation>-<thread digest>-<id digest>-<header CRC>.dck`, all lower-case hex of fixed width,
//! so that no id shapes a path, no two names differ by case alone, and a file whose header cannot
//! be read is still known by its order, its thread and its id.

use sha2::{Digest as _, Sha256};

/// The first 16 bytes of a SHA-256 over a kind and a text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Digest(u128);

impl Digest {
    pub(super) fn thread(thread_id: &str) -> Self {
        Self::of(b"thread", thread_id)
    }

    pub(super) fn id(id: &str) -> Self {
        Self::of(b"id", id)
    }

    fn of(kind: &[u8], text: &str) -> Self {
        let mut sha = Sha256::new();
        sha.update(kind);
        sha.update([0]);
        sha.update(text.as_bytes());
        let full: [u8; 32] = sha.finalize().into();
        let mut out = [0; 16];
        out.iter_mut().zip(full).for_each(|(to, from)| *to = from);
        Self(u128::from_be_bytes(out))
    }

    fn hex(self) -> String {
        format!("{:032x}", self.0)
    }

    fn from_hex(text: &str) -> Option<Self> {
        (text.len() == 32 && is_hex(text))
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(Self)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Generations stay below this, far from where numbers end. What a stray name claims below it is
/// not believed by itself: see [`Catalog::next_generation`](super::catalog::Catalog).
pub(super) const GENERATIONS: u64 = 1 << 62;

/// The name of a version-2 file, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName {
    pub(super) generation: u64,
    pub(super) thread: Digest,
    pub(super) id: Digest,
    pub(super) header_crc: u32,
}

impl FileName {
    /// `None` when it is no name that this store gives.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".dck")?.split('-');
        let (generation, thread, id, crc) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || generation.len() != 16 || crc.len() != 8 {
            return None;
        }
        if !is_hex(generation) || !is_hex(crc) {
            return None;
        }
        Some(Self {
            generation: u64::from_str_radix(generation, 16)
                .ok()
                .filter(|g| (1..GENERATIONS).contains(g))?,
            thread: Digest::from_hex(thread)?,
            id: Digest::from_hex(id)?,
            header_crc: u32::from_str_radix(crc, 16).ok()?,
        })
    }

    pub(super) fn text(&self) -> String {
        let Self { generation, thread, id, header_crc } = self;
        format!("{generation:016x}-{}-{}-{header_crc:08x}.dck", thread.hex(), id.hex())
    }
}

/// The index, a cache.
pub(super) const INDEX: &str = "index.dck";
/// The lock file.
pub(super) const LOCK: &str = "lock.dck";
/// Holds the directory's random name.
pub(super) const IDENTITY: &str = "identity.dck";

/// More bytes than the file of the directory's name has.
pub(super) const IDENTITY_LIMIT: u64 = 64;

/// The directory's random name out of its file: the name, and its CRC.
pub(super) fn identity(bytes: &[u8]) -> Option<[u8; 16]> {
    let (identity, crc) = bytes.split_at_checked(16)?;
    let sound = crc == crc32fast::hash(identity).to_le_bytes();
    identity.try_into().ok().filter(|_| sound)
}

/// The name of a temporary file, from 16 bytes that nobody can guess.
pub(super) fn temporary(entropy: [u8; 16]) -> String {
    format!("tmp-{:032x}.dck", u128::from_be_bytes(entropy))
}

/// Whether it is the name of a temporary file of ours.
pub(super) fn is_temporary(name: &str) -> bool {
    name.strip_prefix("tmp-")
        .and_then(|n| n.strip_suffix(".dck"))
        .is_some_and(|hex| Digest::from_hex(hex).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_ids_make_a_name_that_reads_back_and_is_safe_everywhere(
            generation in 1..GENERATIONS, thread: String, id: String, header_crc: u32,
        ) {
            let name = FileName {
                generation, thread: Digest::thread(&thread), id: Digest::id(&id), header_crc,
            };
            let text = name.text();
            prop_assert_eq!(FileName::parse(&text), Some(name));
            prop_assert_eq!(text.len(), 95);
            let safe = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
            prop_assert!(text.bytes().all(safe));
        }

        #[test]
        fn names_sort_as_their_generations(a in 1..GENERATIONS, b in 1..GENERATIONS) {
            let name = |generation| FileName {
                generation, thread: Digest::thread("t"), id: Digest::id("i"), header_crc: 0,
            }.text();
            prop_assert_eq!(a.cmp(&b), name(a).cmp(&name(b)));
        }

        #[test]
        fn any_text_is_a_name_or_is_not_without_a_panic(text: String) {
            let _ = FileName::parse(&text);
            let _ = is_temporary(&text);
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        let good = FileName {
            generation: 7,
            thread: Digest::thread("t"),
            id: Digest::id("i"),
            header_crc: 1,
        }
        .text();
        let upper = good.to_uppercase().replace(".DCK", ".dck");
        let huge = good.replacen("0000000000000007", "ffffffffffffffff", 1);
        for name in ["", ".dck", "index.dck", "lock.dck", "a.bin", &good[1..], &upper, &huge] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
        assert!(is_temporary(&temporary([9; 16])));
        assert!(!is_temporary("tmp-x.dck") && !is_temporary(&good));
    }

    #[test]
    fn a_thread_and_an_id_of_the_same_text_have_different_digests() {
        assert_ne!(Digest::thread("a"), Digest::id("a"));
    }
}
