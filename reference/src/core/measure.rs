//! Size of an event once its sequence is known, without encoding it again.

/// Sizes of a message whose header has no sequence yet. The sequence is assigned under the core's
/// lock and changes the size; this makes the exact size plain arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Encoded bytes of the whole message.
    pub message: usize,
    /// Encoded bytes of its header alone.
    pub header: usize,
}

/// Bytes of a protobuf varint.
const fn varint(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Bytes by which a length-delimited field grows when its content grows from `from` to `to`.
const fn growth(from: usize, to: usize) -> usize {
    to - from + varint(to as u64) - varint(from as u64)
}

impl Measure {
    /// Encoded bytes of the message with this sequence. Every field on the way (the sequence in the
    /// header, the header in its message, that in the envelope) has a tag of one byte.
    #[must_use]
    pub const fn with_sequence(&self, sequence: u64) -> usize {
        if sequence == 0 {
            return self.message;
        }
        let header = growth(self.header, self.header + 1 + varint(sequence));
        let inner = self.inner();
        self.message + growth(inner, inner + header)
    }

    /// Bytes of the one field of the envelope: what is left after its tag and length.
    const fn inner(&self) -> usize {
        let mut length = 1;
        while length < 10 {
            let inner = self.message.saturating_sub(1 + length);
            if varint(inner as u64) == length {
                return inner;
            }
            length += 1;
        }
        self.message
    }
}
