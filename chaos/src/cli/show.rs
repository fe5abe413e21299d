//! `dashproof show`.

use std::path::Path;

use super::args::ShowArgs;
use super::failure::Failure;
use super::library_for;
use super::ui;
use crate::report::explain;
use crate::scenario::{Selection, select};

pub(crate) fn show(dir: Option<&Path>, args: &ShowArgs) -> Result<u8, Failure> {
    let wanted = Selection { targets: vec![args.target.clone()], ..Selection::default() };
    let library = library_for(dir, &wanted)?;
    let mut out = String::new();
    for scenario in select(&library, &wanted)? {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&explain::scenario(&scenario));
    }
    ui::print(&out);
    Ok(crate::exit::PROVEN)
}
