//! The command line of dashproof.

fn main() {}
