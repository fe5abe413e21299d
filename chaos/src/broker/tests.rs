pub(crate) mod kit;

mod arbitrary;
mod fetch;
mod hostile;
mod listen;
mod manual;
mod produce;
mod reader;
mod truth;
