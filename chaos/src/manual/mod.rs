//! The manual: how to use the harness, in prose, checked against the code by tests.
#![expect(clippy::doc_markdown, reason = "tables hold the names as the code prints them")]

#[doc = include_str!("scenarios.md")]
pub mod _scenarios {}

#[doc = include_str!("cli.md")]
pub mod _cli {}

#[doc = include_str!("broker.md")]
pub mod _broker {}

#[doc = include_str!("faults.md")]
pub mod _faults {}

#[doc = include_str!("disk.md")]
pub mod _disk {}

#[doc = include_str!("diffs.md")]
pub mod _diffs {}

#[doc = include_str!("drivers.md")]
pub mod _drivers {}

#[doc = include_str!("laws.md")]
pub mod _laws {}

#[doc = include_str!("lanes.md")]
pub mod _lanes {}

#[doc = include_str!("agreement.md")]
pub mod _agreement {}

#[doc = include_str!("kafka.md")]
pub mod _kafka {}

#[doc = include_str!("external.md")]
pub mod _external {}

#[doc = include_str!("marks.md")]
pub mod _marks {}

#[doc = include_str!("dependencies.md")]
pub mod _dependencies {}

#[doc = include_str!("metrics.md")]
pub mod _metrics {}

#[cfg(test)]
mod pages;

#[cfg(test)]
mod tests {
    use crate::subject::message::message_id;
    use crate::subject::protocol::{Message, Op, Request};

    /// The lines of the page's `driver` blocks, each with its direction.
    fn examples() -> Vec<(char, &'static str)> {
        let page = include_str!("drivers.md");
        let blocks = page.split("```driver\n").skip(1).filter_map(|b| b.split("```").next());
        blocks
            .flat_map(str::lines)
            .map(|line| (line.chars().next().unwrap(), line[1..].trim()))
            .collect()
    }

    #[test]
    fn every_line_of_the_drivers_page_is_one_of_the_protocol() {
        let examples = examples();
        assert!(examples.len() > 30, "the page lost its examples");
        for (direction, line) in examples {
            match direction {
                '>' => {
                    let request: Request = serde_json::from_str(line).unwrap();
                    let known = line.contains("teleport") || request.op != Op::Unknown;
                    assert!(known, "not an operation: {line}");
                    let written = serde_json::to_string(&request).unwrap();
                    let read: Request = serde_json::from_str(&written).unwrap();
                    assert_eq!(read, request, "what we write is not what is read");
                }
                '<' => {
                    let message: Message = serde_json::from_str(line).unwrap();
                    if let Message::Reply { ok, error, .. } = message {
                        assert!(ok.is_some() != error.is_some(), "neither or both: {line}");
                    }
                }
                _ => panic!("neither > nor <: {line}"),
            }
        }
    }

    #[test]
    fn every_operation_is_shown() {
        let shown: Vec<Request> = examples()
            .into_iter()
            .filter(|(direction, _)| *direction == '>')
            .map(|(_, line)| serde_json::from_str(line).unwrap())
            .collect();
        for name in [
            "Hello",
            "Open",
            "Send",
            "Cancel",
            "Clone",
            "Drop",
            "PanicCallback",
            "Flush",
            "Metrics",
            "Close",
            "CodecEncode",
            "CodecDecode",
            "CheckpointOpen",
            "CheckpointSave",
            "CheckpointLoad",
            "CheckpointLatest",
            "CheckpointList",
            "CheckpointThreads",
            "CheckpointVerify",
            "CheckpointDelete {",
            "CheckpointDeleteThread",
            "CheckpointRetain",
            "CheckpointMetrics",
            "CheckpointClose",
            "Bye",
            "Unknown",
        ] {
            let is = |request: &Request| format!("{:?}", request.op).starts_with(name);
            assert!(shown.iter().any(is), "{name} is not on the page");
        }
    }

    #[test]
    fn the_message_ids_of_the_page_are_well_formed() {
        for (_, line) in examples() {
            let request: Option<Request> = serde_json::from_str(line).ok();
            if let Some(Op::Send { spec, .. } | Op::CodecEncode { spec }) = request.map(|r| r.op) {
                assert!(message_id(&spec.message_id).is_some(), "{}", spec.message_id);
            }
        }
    }
}
