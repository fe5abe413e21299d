//! Listeners, security settings and refusals that do not fit together.

use super::*;

fn file(lanes: &str, listener: &str, security: &str, rest: &str) -> String {
    let cluster = match listener {
        "" => String::new(),
        listener => format!("[cluster]\nbrokers = 1\nlistener = \"{listener}\"\n"),
    };
    format!(
        "id = \"a/b\"\nsummary = \"s\"\nlanes = [{lanes}]\n{cluster}\n\
         [subject.producer.security]\n{security}\n[[load]]\nevents = 9\n{rest}"
    )
}

const PLAIN: &str = "protocol = \"sasl_plaintext\"\n\
                     sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"p\" }";
const BEARER: &str = "protocol = \"sasl_plaintext\"\n\
                      sasl.mechanism = \"OAUTHBEARER\"\n\
                      sasl.token_location = \"certs:token.json\"";

fn refused(why: &str) -> String {
    format!("[expect]\nrefused = {{ why = \"{why}\", within = \"2s\" }}\n")
}

fn denied(rest: &str) -> String {
    format!("[[fault]]\nat = \"1s\"\nkind = \"acl.denied\"\n{rest}")
}

#[test]
fn a_refusal_that_nobody_judges_or_nothing_brings_about_is_refused_with_the_remedy() {
    let kafka = "\"kafka\"";
    let laws = format!("{}laws = [\"D1\"]\n", refused("authentication"));
    let files = [
        file("\"sim\", \"wire\"", "", PLAIN, &refused("authentication")),
        file(kafka, "sasl", PLAIN, &laws),
        file(kafka, "sasl", PLAIN, &refused("authorization")),
        file(kafka, "sasl", PLAIN, &denied(&refused("authentication"))),
        file(kafka, "tls", "protocol = \"ssl\"", &refused("authentication")),
        file(kafka, "tls", "protocol = \"plaintext\"", &refused("tls")),
        file(kafka, "tls", "protocol = \"ssl\"", &refused("closed_at_once")),
        file(kafka, "sasl", PLAIN, &refused("token")),
        file(
            kafka,
            "sasl",
            PLAIN,
            &format!("{}outcomes = {{ acked = \">= 1\" }}\n", refused("authentication")),
        ),
    ];
    insta::assert_snapshot!(files.iter().map(|text| messages(text)).collect::<String>());
}

#[test]
fn faults_and_protocols_that_do_not_fit_the_listener_are_refused_with_the_remedy() {
    let kafka = "\"kafka\"";
    let files = [
        file(kafka, "tls", "protocol = \"ssl\"", &denied("")),
        file(kafka, "sasl", PLAIN, "[[fault]]\nat = \"1s\"\nkind = \"token.stale\"\n"),
        file(kafka, "tls", "protocol = \"plaintext\"", ""),
    ];
    insta::assert_snapshot!(files.iter().map(|text| messages(text)).collect::<String>());
}

#[test]
fn a_file_that_no_run_makes_or_that_is_in_the_wrong_place_is_refused_with_the_right_one() {
    let ssl = |files: &str| format!("protocol = \"ssl\"\nssl = {{ {files} }}");
    let files = [
        file("\"kafka\"", "tls", &ssl("ca_location = \"certs:ca.pm\""), ""),
        file("\"kafka\"", "tls", &ssl("ca_location = \"certs:client.pem\""), ""),
        file("\"wire\"", "", BEARER, ""),
    ];
    insta::assert_snapshot!(files.iter().map(|text| messages(text)).collect::<String>());
}

#[test]
fn a_reference_to_a_file_that_no_run_makes_is_refused_however_it_is_misspelt() {
    let told = |value: &str| {
        let ssl = format!("protocol = \"ssl\"\nssl = {{ ca_location = \"{value}\" }}");
        messages(&file("\"kafka\"", "tls", &ssl, ""))
    };
    for value in ["cert:other-ca.pem", "other-ca.pem", "certs:other-ca.pme"] {
        let told = told(value);
        assert!(told.contains(&format!("no run makes the file `{value}`")), "{told}");
        assert!(told.contains("did you mean `certs:other-ca.pem`?"), "{told}");
    }
    // nor is one of the machine's own of any use: the authority is made anew for every run
    for value in ["/etc/ssl/certs.d/roots", "client.key"] {
        let own = told(value);
        assert!(own.contains("one of `certs:ca.pem`, `certs:other-ca.pem`"), "{own}");
    }
}

#[test]
fn a_fault_of_frames_under_tls_is_refused_with_what_can_be_done_to_bytes() {
    let fault = "[[fault]]\nat = \"1s\"\nkind = \"request.error\"\napi = \"Produce\"\n\
                 code = \"NOT_LEADER_OR_FOLLOWER\"\ncount = 1\n";
    let ssl = "protocol = \"ssl\"\nssl = { ca_location = \"certs:ca.pem\" }";
    let told = messages(&file("\"kafka\"", "tls", ssl, fault));
    assert!(told.contains("`request.error` is met in requests and answers"), "{told}");
    assert!(told.contains("`net.slice`, `net.bandwidth`"), "{told}");
    let reset = "[[fault]]\nat = \"1s\"\nkind = \"net.reset\"\n";
    parse(&file("\"kafka\"", "tls", ssl, reset), "x.toml").expect("bytes can be cut off");
}
