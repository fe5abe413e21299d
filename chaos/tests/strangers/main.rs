//! The model broker meets strangers: clients that know nothing of us produce to it over TCP, as
//! idempotent producers with zstd in three partitions, and read back what they wrote. A tool that
//! is not there is said on stderr (`NOT RUN: …`), and CI counts it.
#![cfg(test)]

mod java;
mod kcat;
mod librdkafka;
mod rig;
