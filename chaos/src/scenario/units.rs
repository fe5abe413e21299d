//! The small languages inside strings: durations, sizes, rates and bounds.

use std::time::Duration;

use super::model::{Amount, Bound, Cmp, Within};

/// `250ms`, `3s`, `1m 30s`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration: {error}"))?;
    if !parsed.as_nanos().is_multiple_of(1_000) {
        return Err(format!("`{text}` is finer than a microsecond, the unit of histories"));
    }
    Ok(parsed)
}

/// What [`duration`] takes.
pub(crate) const DURATION_HELP: &str =
    "write a whole number with a unit, as in \"250ms\", \"3s\" or \"1m 30s\"";

/// `4096`, `64KiB`, `1MiB`, `10kB`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let bad = || format!("`{text}` is not a size");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let factor: usize = match text.get(digits.len()..).unwrap_or_default().trim() {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(bad()),
    };
    let number: usize = digits.replace('_', "").parse().map_err(|_| bad())?;
    number.checked_mul(factor).ok_or_else(bad)
}

/// What [`bytes`] takes.
pub(crate) const BYTES_HELP: &str =
    "write bytes as an integer, or a string as in \"64KiB\" or \"1MiB\"";

/// `500/s`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let bad = || format!("`{text}` is not a rate");
    let number = text.strip_suffix("/s").ok_or_else(bad)?.trim();
    let rate: f64 = number.replace('_', "").parse().map_err(|_| bad())?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err(bad()) }
}

/// What [`rate`] takes.
pub(crate) const RATE_HELP: &str = "write events per second, as in \"500/s\"";

/// `01 28b52ffd`: blanks are free.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect::<Option<_>>().ok_or_else(|| "not bytes in hex".to_owned())
}

/// What [`hex`] takes.
pub(crate) const HEX_HELP: &str = "write two hex digits for each byte, as in \"00 0a 02\"";

/// Splits a comparison off the front of a text.
fn comparison(text: &str) -> Option<(Cmp, &str)> {
    let table = [("==", Cmp::Eq), ("<=", Cmp::Le), (">=", Cmp::Ge), ("<", Cmp::Lt), (">", Cmp::Gt)];
    let text = text.trim();
    table.iter().find_map(|(sign, cmp)| Some((*cmp, text.strip_prefix(sign)?.trim())))
}

/// `== offered`, `>= 1`, `<= 10% offered`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn bound(text: &str) -> Result<Bound, String> {
    let bad = || format!("`{text}` is not a bound on a count");
    let (cmp, right) = comparison(text).ok_or_else(bad)?;
    let amount = match right.strip_suffix("offered").map(str::trim) {
        Some("") => Amount::ShareOfOffered(1.0),
        Some(share) => {
            let share = share.strip_suffix('%').ok_or_else(bad)?;
            let share: f64 = share.trim().parse().map_err(|_| bad())?;
            if !(0.0..=100.0).contains(&share) {
                return Err(bad());
            }
            Amount::ShareOfOffered(share / 100.0)
        }
        None => Amount::Count(right.replace('_', "").parse().map_err(|_| bad())?),
    };
    Ok(Bound { cmp, amount })
}

/// What [`bound`] takes.
pub(crate) const BOUND_HELP: &str =
    "write a comparison, as in \"== offered\", \">= 1\" or \"<= 10% offered\"";

/// `±5%`, `±3`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn within(text: &str) -> Result<Within, String> {
    let bad = || format!("`{text}` does not say how far counts may lie apart");
    let right = text.trim().strip_prefix('±').ok_or_else(bad)?.trim();
    let Some(share) = right.strip_suffix('%') else {
        return right.replace('_', "").parse().map(Within::Count).map_err(|_| bad());
    };
    let share: f64 = share.trim().parse().map_err(|_| bad())?;
    if (0.0..=100.0).contains(&share) { Ok(Within::Share(share / 100.0)) } else { Err(bad()) }
}

/// What [`within`] takes.
pub(crate) const WITHIN_HELP: &str = "write \"±5%\" of the larger count, or \"±3\" events";

/// `<= 3s`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn ceiling(text: &str) -> Result<Duration, String> {
    match comparison(text) {
        Some((Cmp::Le, right)) => duration(right),
        _ => Err(format!("`{text}` is not an upper bound on a time")),
    }
}

/// What [`ceiling`] takes.
pub(crate) const CEILING_HELP: &str = "write an upper bound, as in \"<= 3s\"";
