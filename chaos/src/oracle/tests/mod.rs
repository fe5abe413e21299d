//! Every law has a history that keeps it and one that breaks it.

mod bounds;
mod delivery;
mod ends;
mod letters;
mod limits;
mod manual;
mod metrics;
mod order;
mod silent;
mod spool;
mod states;
mod stores;
mod story;
mod surface;
mod tables;
mod time;
mod total;
mod verdict;
