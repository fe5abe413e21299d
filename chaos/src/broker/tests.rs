mod hostile;
mod produce;
mod truth;
