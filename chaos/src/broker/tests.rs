mod hostile;
mod listen;
mod produce;
mod reader;
mod truth;
