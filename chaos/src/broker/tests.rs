mod arbitrary;
mod hostile;
mod listen;
mod manual;
mod produce;
mod reader;
mod truth;
