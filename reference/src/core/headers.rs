//! Kafka record headers without the heap: a record carries two short ones.

use std::fmt;
use std::ops::Deref;

const MOST: usize = 16;

/// The value of a record header, at most 16 bytes, kept in place.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct HeaderValue {
    bytes: [u8; MOST],
    len: u8,
}

impl HeaderValue {
    /// The value with these bytes; what is behind the sixteenth is left out.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut value = Self::default();
        for (place, byte) in value.bytes.iter_mut().zip(bytes) {
            *place = *byte;
            value.len += 1;
        }
        value
    }
}

impl Deref for HeaderValue {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
}

/// The headers of a record, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    items: [(&'static str, HeaderValue); 2],
    len: u8,
}

impl Headers {
    /// Two headers.
    #[must_use]
    pub const fn pair(
        first: (&'static str, HeaderValue),
        second: (&'static str, HeaderValue),
    ) -> Self {
        Self { items: [first, second], len: 2 }
    }

    /// One header.
    #[must_use]
    pub fn one(name: &'static str, value: HeaderValue) -> Self {
        Self { items: [(name, value), ("", HeaderValue::default())], len: 1 }
    }
}

impl Deref for Headers {
    type Target = [(&'static str, HeaderValue)];

    fn deref(&self) -> &Self::Target {
        self.items.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_bytes_it_was_made_of() {
        assert_eq!(&*HeaderValue::new(b"00c0ffee"), b"00c0ffee");
        assert_eq!(HeaderValue::new(b"").len(), 0);
        assert_eq!(HeaderValue::new(&[7; 16]).len(), 16);
    }

    #[test]
    fn headers_are_as_many_as_were_given() {
        let value = HeaderValue::new(b"v");
        assert_eq!(Headers::one("a", value).len(), 1);
        let two = Headers::pair(("a", value), ("b", value));
        assert_eq!(two.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "b"]);
        assert!(Headers::default().is_empty());
    }
}
