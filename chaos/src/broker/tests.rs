mod hostile;
mod produce;
