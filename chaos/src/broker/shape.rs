//! The outline of every request, checked before it is decoded.
//!
//! `kafka-protocol` reserves memory for an array as soon as it has read its length. A peer that
//! lies about a length must not make the broker reserve it, so each frame is walked first: nothing
//! is allocated, and a frame may hold at most [`MAX_ELEMENTS`] array elements and tags in all.

use kafka_protocol::messages::ApiKey;

/// Array elements and tagged fields that one request may hold.
pub(crate) const MAX_ELEMENTS: u32 = 50_000;
/// The same for an answer: a cluster may have many partitions.
const MAX_ANSWERED: u32 = 1_000_000;

enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// String, nullable or not.
    Text,
    /// Bytes, nullable or not.
    Blob,
    /// Array of a structure.
    Array(&'static [Field]),
    /// Array of a primitive, without tagged fields.
    Plain(&'static Kind),
}

struct Field {
    min: i16,
    max: i16,
    kind: Kind,
}

const ANY: i16 = i16::MAX;

const fn f(min: i16, max: i16, kind: Kind) -> Field {
    Field { min, max, kind }
}

const fn all(kind: Kind) -> Field {
    Field { min: 0, max: ANY, kind }
}

use Kind::{Array, Blob, Fixed, Plain, Text};

const API_VERSIONS: &[Field] = &[f(3, ANY, Text), f(3, ANY, Text)];
const METADATA: &[Field] = &[
    all(Array(&[f(10, ANY, Fixed(16)), all(Text)])),
    f(4, ANY, Fixed(1)),
    f(8, 10, Fixed(1)),
    f(8, ANY, Fixed(1)),
];
const INIT_PRODUCER_ID: &[Field] =
    &[all(Text), all(Fixed(4)), f(3, ANY, Fixed(8)), f(3, ANY, Fixed(2))];
const PRODUCE: &[Field] =
    &[all(Text), all(Fixed(6)), all(Array(&[all(Text), all(Array(&[all(Fixed(4)), all(Blob)]))]))];
const FETCH: &[Field] = &[
    all(Fixed(17)),
    f(7, ANY, Fixed(8)),
    all(Array(&[
        all(Text),
        all(Array(&[
            all(Fixed(4)),
            f(9, ANY, Fixed(4)),
            all(Fixed(8)),
            f(12, ANY, Fixed(4)),
            f(5, ANY, Fixed(8)),
            all(Fixed(4)),
        ])),
    ])),
    f(7, ANY, Array(&[all(Text), all(Plain(&Fixed(4)))])),
    f(11, ANY, Text),
];
const LIST_OFFSETS: &[Field] = &[
    all(Fixed(4)),
    f(2, ANY, Fixed(1)),
    all(Array(&[all(Text), all(Array(&[all(Fixed(4)), f(4, ANY, Fixed(4)), all(Fixed(8))]))])),
];
const FIND_COORDINATOR: &[Field] = &[f(0, 3, Text), f(1, ANY, Fixed(1)), f(4, ANY, Plain(&Text))];
const JOIN_GROUP: &[Field] = &[
    all(Text),
    all(Fixed(4)),
    f(1, ANY, Fixed(4)),
    all(Text),
    f(5, ANY, Text),
    all(Text),
    all(Array(&[all(Text), all(Blob)])),
    f(8, ANY, Text),
];
const SYNC_GROUP: &[Field] = &[
    all(Text),
    all(Fixed(4)),
    all(Text),
    f(3, ANY, Text),
    f(5, ANY, Text),
    f(5, ANY, Text),
    all(Array(&[all(Text), all(Blob)])),
];
const HEARTBEAT: &[Field] = &[all(Text), all(Fixed(4)), all(Text), f(3, ANY, Text)];
const LEAVE_GROUP: &[Field] =
    &[all(Text), f(0, 2, Text), f(3, ANY, Array(&[all(Text), all(Text), f(5, ANY, Text)]))];
const OFFSET_COMMIT: &[Field] = &[
    all(Text),
    all(Fixed(4)),
    all(Text),
    f(7, ANY, Text),
    f(2, 4, Fixed(8)),
    all(Array(&[
        f(0, 9, Text),
        f(10, ANY, Fixed(16)),
        all(Array(&[all(Fixed(12)), f(6, ANY, Fixed(4)), all(Text)])),
    ])),
];
const OFFSET_FETCH: &[Field] = &[
    f(0, 7, Text),
    f(0, 7, Array(&[all(Text), all(Plain(&Fixed(4)))])),
    f(
        8,
        ANY,
        Array(&[
            all(Text),
            f(9, ANY, Text),
            f(9, ANY, Fixed(4)),
            all(Array(&[f(0, 9, Text), f(10, ANY, Fixed(16)), all(Plain(&Fixed(4)))])),
        ]),
    ),
    f(7, ANY, Fixed(1)),
];
const CREATE_TOPICS: &[Field] = &[
    all(Array(&[
        all(Text),
        all(Fixed(6)),
        all(Array(&[all(Fixed(4)), all(Plain(&Fixed(4)))])),
        all(Array(&[all(Text), all(Text)])),
    ])),
    all(Fixed(5)),
];

fn outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::ApiVersions => API_VERSIONS,
        ApiKey::Metadata => METADATA,
        ApiKey::InitProducerId => INIT_PRODUCER_ID,
        ApiKey::Produce => PRODUCE,
        ApiKey::Fetch => FETCH,
        ApiKey::ListOffsets => LIST_OFFSETS,
        ApiKey::FindCoordinator => FIND_COORDINATOR,
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::JoinGroup => JOIN_GROUP,
        ApiKey::SyncGroup => SYNC_GROUP,
        ApiKey::Heartbeat => HEARTBEAT,
        ApiKey::LeaveGroup => LEAVE_GROUP,
        ApiKey::OffsetCommit => OFFSET_COMMIT,
        ApiKey::OffsetFetch => OFFSET_FETCH,
        _ => return None,
    })
}

const PRODUCE_ANSWER: &[Field] = &[
    all(Array(&[
        f(0, 12, Text),
        f(13, ANY, Fixed(16)),
        all(Array(&[
            all(Fixed(22)),
            f(5, ANY, Fixed(8)),
            f(8, ANY, Array(&[all(Fixed(4)), all(Text)])),
            f(8, ANY, Text),
        ])),
    ])),
    all(Fixed(4)),
];
const METADATA_ANSWER: &[Field] = &[
    f(3, ANY, Fixed(4)),
    all(Array(&[all(Fixed(4)), all(Text), all(Fixed(4)), f(1, ANY, Text)])),
    f(2, ANY, Text),
    f(1, ANY, Fixed(4)),
    all(Array(&[
        all(Fixed(2)),
        all(Text),
        f(10, ANY, Fixed(16)),
        f(1, ANY, Fixed(1)),
        all(Array(&[
            all(Fixed(10)),
            f(7, ANY, Fixed(4)),
            all(Plain(&Fixed(4))),
            all(Plain(&Fixed(4))),
            f(5, ANY, Plain(&Fixed(4))),
        ])),
        f(8, ANY, Fixed(4)),
    ])),
    f(8, 10, Fixed(4)),
    f(13, ANY, Fixed(2)),
];
const API_VERSIONS_ANSWER: &[Field] =
    &[all(Fixed(2)), all(Array(&[all(Fixed(6))])), f(1, ANY, Fixed(4))];

const FIND_COORDINATOR_ANSWER: &[Field] = &[
    f(1, ANY, Fixed(4)),
    f(0, 3, Fixed(2)),
    f(1, 3, Text),
    f(0, 3, Fixed(4)),
    f(0, 3, Text),
    f(0, 3, Fixed(4)),
    f(
        4,
        ANY,
        Array(&[all(Text), all(Fixed(4)), all(Text), all(Fixed(4)), all(Fixed(2)), all(Text)]),
    ),
];
const DESCRIBE_CLUSTER_ANSWER: &[Field] = &[
    all(Fixed(6)),
    all(Text),
    f(1, ANY, Fixed(1)),
    all(Text),
    all(Fixed(4)),
    all(Array(&[all(Fixed(4)), all(Text), all(Fixed(4)), all(Text), f(2, ANY, Fixed(1))])),
    all(Fixed(4)),
];

fn answer_outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::Produce => PRODUCE_ANSWER,
        ApiKey::Metadata => METADATA_ANSWER,
        ApiKey::ApiVersions => API_VERSIONS_ANSWER,
        ApiKey::FindCoordinator => FIND_COORDINATOR_ANSWER,
        ApiKey::DescribeCluster => DESCRIBE_CLUSTER_ANSWER,
        _ => return None,
    })
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    budget: u32,
}

impl Walk<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn i32(&mut self) -> Option<i32> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(i32::from_be_bytes(*field))
    }

    /// A length; null counts as 0. `wide`: four bytes instead of two where it is not compact.
    fn length(&mut self, wide: bool) -> Option<u32> {
        if self.flexible {
            return Some(self.varint()?.saturating_sub(1));
        }
        let length = if wide {
            self.i32()?
        } else {
            let (field, rest) = self.rest.split_first_chunk()?;
            self.rest = rest;
            i32::from(i16::from_be_bytes(*field))
        };
        if length == -1 { Some(0) } else { u32::try_from(length).ok() }
    }

    fn spend(&mut self, elements: u32) -> Option<()> {
        self.budget = self.budget.checked_sub(elements)?;
        Some(())
    }

    fn tags(&mut self) -> Option<()> {
        if !self.flexible {
            return Some(());
        }
        let count = self.varint()?;
        self.spend(count)?;
        for _ in 0..count {
            self.varint()?;
            let length = self.varint()?;
            self.skip(usize::try_from(length).ok()?)?;
        }
        Some(())
    }

    fn kind(&mut self, kind: &Kind) -> Option<()> {
        match kind {
            Fixed(bytes) => self.skip(*bytes),
            Text => {
                let length = self.length(false)?;
                self.skip(usize::try_from(length).ok()?)
            }
            Blob => {
                let length = self.length(true)?;
                self.skip(usize::try_from(length).ok()?)
            }
            Array(fields) => {
                let count = self.length(true)?;
                self.spend(count)?;
                (0..count).try_for_each(|_| self.fields(fields))
            }
            Plain(kind) => {
                let count = self.length(true)?;
                self.spend(count)?;
                (0..count).try_for_each(|_| self.kind(kind))
            }
        }
    }

    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        for field in fields {
            if (field.min..=field.max).contains(&self.version) {
                self.kind(&field.kind)?;
            }
        }
        self.tags()
    }
}

/// True when `body` has the outline of this request: safe to decode.
pub(crate) fn sound(api: ApiKey, version: i16, body: &[u8]) -> bool {
    fits(outline(api), api, version, body, MAX_ELEMENTS)
}

/// True when `body` has the outline of an answer to this request: safe to decode.
pub(crate) fn sound_answer(api: ApiKey, version: i16, body: &[u8]) -> bool {
    fits(answer_outline(api), api, version, body, MAX_ANSWERED)
}

fn fits(
    fields: Option<&'static [Field]>,
    api: ApiKey,
    version: i16,
    body: &[u8],
    budget: u32,
) -> bool {
    let flexible = api.request_header_version(version) >= 2;
    let mut walk = Walk { rest: body, version, flexible, budget };
    fields.is_some_and(|fields| walk.fields(fields).is_some())
}
