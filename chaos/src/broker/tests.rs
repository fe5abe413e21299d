pub(crate) mod kit;

mod arbitrary;
mod fetch;
mod group;
mod group_machine;
mod hostile;
mod listen;
mod manual;
mod produce;
mod reader;
mod truth;
