//! What people and programs are shown: everything here only reads.

pub mod explain;
pub mod violation;
