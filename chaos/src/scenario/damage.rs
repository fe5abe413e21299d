//! What may happen to the files of a spool.

/// What happens to the files of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolDamage {
    /// The newest segment loses its last bytes.
    TornTail,
    /// A bit in the midst of the oldest segment flips.
    FlippedBit,
    /// A file that is none of the spool's appears.
    ForeignFile,
    /// A segment of a newer version appears.
    NewerVersion,
}

impl SpoolDamage {
    /// Every kind, with its name in files.
    pub const ALL: [(&'static str, Self); 4] = [
        ("torn_tail", Self::TornTail),
        ("flipped_bit", Self::FlippedBit),
        ("foreign_file", Self::ForeignFile),
        ("newer_version", Self::NewerVersion),
    ];

    /// Its name in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TornTail => "torn_tail",
            Self::FlippedBit => "flipped_bit",
            Self::ForeignFile => "foreign_file",
            Self::NewerVersion => "newer_version",
        }
    }

    /// Entries of the spool that it costs at most.
    #[must_use]
    pub const fn costs(self) -> usize {
        match self {
            Self::TornTail | Self::FlippedBit => 1,
            Self::ForeignFile | Self::NewerVersion => 0,
        }
    }
}
