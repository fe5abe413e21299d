//! Benchmarks, each in `benches/`: speed as a ratio against a named baseline of the same run.
//!
//! A ratio is the median of interleaved rounds, with the smallest and the largest of them; a number
//! without its baseline would be one about the machine. `make bench` runs all, and each is run by
//! itself with `cargo bench -p dashproof-benches --bench NAME`.
//!
//! | Bench | Measured ÷ baseline | Aim |
//! |---|---|---|
//! | `producer` | reference ÷ codec and bare rdkafka, model broker | 0.95 |
//! | `proxy` | through the proxy ÷ without it, model broker | 0.7 |
//! | `kafka -- start` | start of the lane `kafka` to the first ack ÷ 10 s (1 broker), 25 s (3) | at most 1 |
//! | `kafka -- producer` | as `producer`, Apache Kafka | 0.95 |
//! | `kafka -- proxy` | as `proxy`, Apache Kafka | 0.7 |
//! | `kafka -- model` | model broker ÷ Apache Kafka, one broker each, the same client | 2 |
//!
//! `kafka` needs Docker and the image of the lane. Without them it says NOT RUN and what helps; that
//! is an error (3) only where a part, or `all`, was named. The containers are removed at the end, on
//! a panic and on Ctrl-C.
