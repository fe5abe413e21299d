//! Scenario files: model, parser, checks, selection.

pub mod model;
