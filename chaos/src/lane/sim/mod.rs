//! Model broker and reference in turmoil: virtual time, seeded, byte-identical replay.

pub mod client;
