use super::*;

#[test]
fn names_labels_values_and_types_are_read() {
    let text = "# HELP a_total what it says\n# TYPE a_total counter\na_total{x=\"1\",y=\"a \\\"b\\\" \\\\ \\n\"} 3\n\
                # TYPE b gauge\nb -1.5e3 1700000000\nc{} NaN\n\n# a comment\nd 4\n";
    let read = parse(text).unwrap();
    assert_eq!(read.value("a_total", &[("x", "1"), ("y", "a \"b\" \\ \n")]), Some(3.0));
    assert_eq!(read.value("a_total", &[("x", "1")]), None);
    assert_eq!(read.value("b", &[]), Some(-1500.0));
    assert!(read.value("c", &[]).unwrap().is_nan());
    let kinds: Vec<Type> = read.families.values().map(|family| family.kind).collect();
    assert_eq!(kinds, [Type::Counter, Type::Gauge, Type::Untyped, Type::Untyped]);
    assert_eq!(read.sum("a_total"), Some(3.0));
    assert_eq!(read.sum("absent"), None);
}

#[test]
fn each_fault_is_told_with_its_line() {
    let told = |text: &str| parse(text).unwrap_err().to_string();
    insta::assert_snapshot!(
        [
            told("a 1\n9a 1\n"),
            told("a{x=\"1\" 1\n"),
            told("a{x=1} 1\n"),
            told("a{x=\"1\",x=\"2\"} 1\n"),
            told("a one\n"),
            told("a 1 2 3\n"),
            told("a 1\na 2\n"),
            told("a 1\n# TYPE a counter\n"),
            told("# TYPE a number\n"),
            told("a 1\na{x=\"1\"} 2"),
            told("a\n"),
        ]
        .join("\n")
    );
}
