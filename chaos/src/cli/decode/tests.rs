use std::io::Write as _;

use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: DecodeArgs,
}

/// Runs the command over a file with this content.
fn decode(content: &[u8], options: &[&str]) -> (Vec<Value>, DecodeSummary) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let path = file.path().to_str().unwrap();
    let args = Cli::parse_from(["decode", path].iter().chain(options)).args;
    let mut out = Vec::new();
    let summary = run(&args, &mut out).unwrap();
    let lines = String::from_utf8(out).unwrap();
    (lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect(), summary)
}

fn vectors() -> Vec<Value> {
    let text = include_str!("../../../../reference/tests/data/dashstream-v1.json");
    serde_json::from_str(text).unwrap()
}

fn hex(id: &str) -> String {
    let vectors = vectors();
    let vector = vectors.iter().find(|v| v["id"] == id).unwrap();
    vector["bytes_hex"].as_str().unwrap().to_owned()
}

#[test]
fn hex_lines_answer_line_by_line_as_the_original_does_but_where_we_are_stricter() {
    let vectors = vectors();
    let lines: String =
        vectors.iter().map(|v| format!("{}\n", v["bytes_hex"].as_str().unwrap())).collect();
    let ways: [(&str, &[&str]); 2] =
        [("strict", &["--lenient"]), ("compatible", &["--lenient", "--legacy"])];
    for (way, options) in ways {
        let options = [&["--hex-lines"], options].concat();
        let (answers, summary) = decode(lines.as_bytes(), &options);
        assert_eq!(answers.len(), vectors.len());
        let failed = answers.iter().filter(|a| a["ok"] == false).count();
        assert_eq!((summary.frames, summary.failed), (84, failed as u64));
        for (vector, answer) in vectors.iter().zip(&answers) {
            let original = &vector["dashflow_1_11_3"][way]["ok_sha256"];
            let stricter = vector["bytes_hex"] == "01";
            if !stricter {
                assert_eq!(&answer["sha256"], original, "{}", vector["id"]);
            }
            assert_eq!(answer["message"].is_object(), answer["ok"] == true);
            assert_eq!(answer["error"]["kind"].is_string(), answer["ok"] == false);
        }
    }
}

#[test]
fn a_file_is_one_frame_and_its_answer_one_line() {
    let frame = unhex(hex("schema/version-1").as_bytes()).unwrap();
    let (answers, summary) = decode(&frame, &[]);
    assert_eq!((summary.frames, summary.failed), (1, 0));
    insta::assert_snapshot!(answers[0].to_string());
}

#[test]
fn an_error_says_kind_offset_and_message() {
    let lines = [
        hex("truncated/zstd-8"),
        hex("limit/zstd-bomb-64MiB"),
        hex("frame/unknown-byte-7f"),
        hex("schema/batch-event-without-header"),
        String::new(),
        "00xy".to_owned(),
        "000".to_owned(),
    ];
    let (answers, summary) = decode(lines.join("\r\n").as_bytes(), &["--hex-lines"]);
    assert_eq!((summary.frames, summary.failed), (7, 7));
    let text: Vec<String> = answers.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn the_policy_decides_which_schema_versions_pass() {
    let frame = unhex(hex("schema/version-7").as_bytes()).unwrap();
    for (policy, ok) in [("exact", false), ("forward", true), ("backward", false)] {
        let (answers, _) = decode(&frame, &["--policy", policy]);
        assert_eq!(answers[0]["ok"], ok, "{policy}");
    }
}

#[test]
fn what_was_let_in_by_leniency_or_as_legacy_says_so() {
    let lines = [hex("schema/no-header"), hex("frame/legacy-unframed"), hex("schema/version-1")];
    let (answers, _) =
        decode(lines.join("\n").as_bytes(), &["--hex-lines", "--legacy", "--lenient"]);
    let seen: Vec<_> = answers.iter().map(|a| (a.get("lenient"), a.get("legacy"))).collect();
    let yes = Some(&Value::Bool(true));
    assert_eq!(seen, [(yes, None), (None, yes), (None, None)]);
}

#[test]
fn a_line_or_file_longer_than_any_frame_is_an_error_and_the_next_line_is_read() {
    let long = "00".repeat((10 << 20) + 100);
    let lines = format!("{long}\n{}\n", hex("schema/version-1"));
    let (answers, _) = decode(lines.as_bytes(), &["--hex-lines"]);
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["error"]["kind"], "frame_too_large");
    assert_eq!(answers[1]["ok"], true);

    let (answers, _) = decode(&vec![0; (10 << 20) + 2], &[]);
    assert_eq!(answers[0]["error"]["kind"], "frame_too_large");
    let (answers, _) = decode(&vec![0; (10 << 20) + 1], &[]);
    assert_eq!(answers[0]["error"]["kind"], "key");
}

#[test]
fn a_missing_file_is_a_usage_error_that_names_it() {
    let args = Cli::parse_from(["decode", "/no/such/file"]).args;
    let failure = run(&args, &mut Vec::new()).unwrap_err();
    assert_eq!(failure.code, crate::exit::USAGE);
    assert!(failure.message.starts_with("/no/such/file cannot be read"));
}
