//! Thin shells around the core: clients, files, clocks.

#[cfg(feature = "kafka")]
pub mod rdkafka;
