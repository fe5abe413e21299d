use crate::broker::{SERVED, api_name};

#[test]
fn the_manual_lists_every_api_with_its_versions() {
    let page = include_str!("../../manual/broker.md");
    let table = page.lines().skip_while(|line| !line.starts_with("| API")).skip(2);
    let rows: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
    let row = |(api, min, max)| format!("| {} | {min}–{max} |", api_name(api));
    assert_eq!(rows, SERVED.map(row));
}
