//! The store over a file system in memory.
mod basics;
