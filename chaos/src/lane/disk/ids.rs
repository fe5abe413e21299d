//! Ids that somebody might use to hurt a store.

use crate::scenario::model::Load;

/// Texts that a file system or a careless store could trip over.
fn hostile() -> Vec<String> {
    let plain = [
        "../x",
        "/abs",
        "",
        "index",
        "nul\0byte",
        "CON",
        "con",
        "A",
        "a",
        ".",
        "..",
        "a/b",
        "a\\b",
        "COM1",
        "x.dck",
        " ",
        "-",
        "\u{e9}",
        "e\u{301}",
        "\u{202e}gnp.exe",
        "new\nline",
        "%2e%2e",
    ];
    let mut all: Vec<String> = plain.iter().map(|text| (*text).to_owned()).collect();
    all.push("x".repeat(300));
    all
}

/// The thread of a load's `k`-th save, and the caller's own id for it.
pub(super) fn of(load: &Load, index: usize, k: u32) -> (String, Option<String>) {
    let turn = k % load.threads.max(1);
    match load.ids.as_str() {
        "hostile" => {
            let all = hostile();
            let at = |n: u32| all.get(usize::try_from(n).unwrap_or(0) % all.len()).cloned();
            let first = (k as usize) < all.len();
            // each text is the id of one checkpoint and the thread of others
            (at(k.wrapping_add(turn)).unwrap_or_default(), at(k).filter(|_| first))
        }
        "taken" => (format!("t{turn}"), Some(format!("own-{index}-{}", k / 2))),
        _ => (format!("t{turn}"), None),
    }
}
