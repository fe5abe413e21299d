//! Why no two lanes of a run could say anything about one scenario.

use crate::scenario::model::{LaneName, Scenario};

/// `None` where two of these lanes can run it.
#[must_use]
pub fn alone(scenario: &Scenario, lanes: &[LaneName]) -> Option<String> {
    let could: Vec<LaneName> =
        lanes.iter().copied().filter(|lane| scenario.is_for(*lane)).collect();
    if could.len() > 1 {
        return None;
    }
    let of = match could.as_slice() {
        [one] => format!("only {}", one.as_str()),
        _ => "none".to_owned(),
    };
    let remedy = match scenario.lanes.as_slice() {
        [] | [_] => "leave it out of a comparison",
        _ => "choose two of those, or leave it out",
    };
    Some(format!(
        "of the lanes {} {of} can run it; it is written for {}: {remedy}",
        names(lanes),
        names(&scenario.lanes)
    ))
}

/// In one line.
#[must_use]
pub fn names(lanes: &[LaneName]) -> String {
    lanes.iter().map(|lane| lane.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(written: &[LaneName], chosen: &[LaneName]) -> Option<String> {
        alone(&Scenario { lanes: written.to_vec(), ..Scenario::default() }, chosen)
    }

    #[test]
    fn a_scenario_of_one_lane_is_told_with_its_lane_and_what_to_do() {
        use LaneName::{Kafka, Sim, Wire};
        assert_eq!(told(&[Sim, Wire], &[Sim, Wire]), None);
        let why = "of the lanes sim, wire only sim can run it; it is written for sim: leave it out \
                   of a comparison";
        assert_eq!(told(&[Sim], &[Sim, Wire]).as_deref(), Some(why));
        let why = "of the lanes sim, wire only wire can run it; it is written for wire, kafka: \
                   choose two of those, or leave it out";
        assert_eq!(told(&[Wire, Kafka], &[Sim, Wire]).as_deref(), Some(why));
    }
}
