//! Every law has a history that keeps it and one that breaks it.

mod bounds;
mod delivery;
mod letters;
mod manual;
mod metrics;
mod order;
mod spool;
mod states;
mod stores;
mod story;
mod surface;
mod tables;
mod time;
mod total;
mod verdict;
