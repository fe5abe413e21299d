//! A1: no panic is reachable, and an unsupported operation is a typed error.

use super::findings::{Evidence, Findings};
use super::index::Index;
use super::laws::LawId::A1;

/// Exit codes of a process that panicked or was aborted.
const RUST_PANIC: i64 = 101;

pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    f.checked(A1, 1);
    for fact in index.procs() {
        match fact.what {
            "panic" => f.broken(A1, "panic", Evidence::line(fact.at), || {
                ("no panic".to_owned(), format!("a panic: {}", fact.text))
            }),
            "exit" if fact.value == RUST_PANIC || is_abort(fact.value) => {
                f.broken(A1, "exit", Evidence::line(fact.at), || {
                    let expected = "the subject's process lives until it is told to end".to_owned();
                    (expected, format!("it ended with {}", ending(fact.value)))
                });
            }
            _ => {}
        }
    }
    for at in &index.panicked {
        f.broken(A1, "call", Evidence::line(*at), || {
            ("no call panics".to_owned(), "a call answered that it panicked".to_owned())
        });
    }
    for call in index.calls.iter().filter(|call| call.op == "unknown") {
        let Some(returned) = call.returned else { continue };
        f.checked(A1, 1);
        let error = returned.error.unwrap_or("Ok");
        if !error.starts_with("unsupported") {
            f.broken(A1, "unsupported", Evidence::line(call.at).and(returned.at), || {
                let expected = "an operation that nobody knows is answered `unsupported`";
                (expected.to_owned(), error.to_owned())
            });
        }
    }
}

/// Signals by which a process ends itself: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
const fn is_abort(value: i64) -> bool {
    matches!(value, -4 | -6 | -7 | -8 | -11)
}

fn ending(value: i64) -> String {
    if value < 0 { format!("signal {}", -value) } else { format!("exit code {value}") }
}
