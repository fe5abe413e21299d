//! What people and programs are shown: everything here only reads.

pub mod agreement;
pub mod cell;
pub mod explain;
pub mod json;
pub mod summary;
pub mod table;
pub mod violation;
