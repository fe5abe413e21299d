//! What a store answered, held against what it must hold.

use super::model::{Allowed, File, Saved, Stands};
use super::walk::Walk;
use crate::history::{StoreAnswer, StoreCall};
use crate::oracle::findings::Evidence;
use crate::oracle::laws::LawId::{K1, K2, K4, K7, K8, K11};

/// Asks, and changes nothing.
pub(super) fn is_question(op: &str) -> bool {
    matches!(op, "latest" | "list" | "load" | "threads" | "verify")
}

/// The kind that a system's error must become.
pub(super) fn kind_of(error: &str) -> &'static str {
    match error {
        "ENOSPC" | "EDQUOT" | "EFBIG" => "storage_full",
        "EACCES" | "EPERM" | "EROFS" => "permission_denied",
        _ => "io",
    }
}

fn is_system(kind: &str) -> bool {
    matches!(kind, "storage_full" | "permission_denied" | "io" | "timeout")
}

/// Errors that a save can answer without any trouble of the system.
const REFUSALS: &[&str] = &["already_exists", "invalid_id", "oversize"];

/// Errors are typed, of the right kind, and have a cause.
pub(super) fn errors(
    walk: &mut Walk<'_, '_>,
    call: &StoreCall,
    answer: &StoreAnswer,
    evidence: &Evidence,
) {
    let Some(kind) = answer.error.as_deref() else { return };
    let excused = !walk.sees && walk.trouble.is_some_and(|trouble| trouble.excuses(kind));
    let has_cause = is_system(kind) && (excused || !walk.failed.is_empty());
    if call.op == "second_open" && !has_cause {
        return second_open(walk, kind, answer, evidence);
    }
    if excused {
        walk.f.unjudged(K11, "a driver's file operations are not seen");
        return;
    }
    if is_system(kind) {
        walk.f.checked(K11, 1);
        let met: Vec<String> = walk
            .failed
            .iter()
            .map(|f| format!("{} of {} failed with {}", f.op, f.path, f.error))
            .collect();
        if !walk.failed.iter().any(|failed| kind_of(failed.error) == kind) {
            walk.f.broken(K11, "kind", evidence.clone(), || {
                let met = if met.is_empty() { "nothing failed".to_owned() } else { met.join("; ") };
                let expected = format!("an error of the kind that was met: {met}");
                (expected, format!("{} answered {kind}: {}", call.op, answer.text))
            });
        }
        return;
    }
    match call.op.as_str() {
        "open" => walk.not_opened(answer, evidence),
        "save" if !REFUSALS.contains(&kind) => {
            walk.f.broken(K7, "refused", evidence.clone(), || {
                let expected = "a state that can be encoded is saved".to_owned();
                (expected, answer.text.clone())
            });
        }
        "delete" | "delete_thread" | "retain" if kind != "schema_mismatch" => {
            let (law, rule) = walk.past.undamaged(&walk.model);
            walk.f.broken(law, rule, evidence.clone(), || {
                let expected = format!("{} succeeds, or the system says why not", call.op);
                (expected, answer.text.clone())
            });
        }
        "list" | "threads" | "verify" | "close" => {
            let (law, rule) = walk.past.undamaged(&walk.model);
            walk.f.broken(law, rule, evidence.clone(), || {
                let expected = format!("{} succeeds, or the system says why not", call.op);
                (expected, answer.text.clone())
            });
        }
        _ => {}
    }
}

/// Whoever finds a directory taken is told so, and by which process where it is one.
fn second_open(walk: &mut Walk<'_, '_>, kind: &str, answer: &StoreAnswer, evidence: &Evidence) {
    walk.f.checked(K4, 1);
    if kind != "locked" {
        walk.f.broken(K4, "locked", evidence.clone(), || {
            let expected = "a directory that is in use is refused as locked".to_owned();
            (expected, answer.text.clone())
        });
        return;
    }
    let Some(holder) = walk.holder else { return };
    if !walk.sees {
        let why = "a driver may have started another process, which has the directory";
        return walk.f.unjudged(K4, why);
    }
    let numbers = answer.text.split(|c: char| !c.is_ascii_digit());
    if !numbers.into_iter().any(|number| number.parse() == Ok(holder)) {
        walk.f.broken(K4, "holder", evidence.clone(), || {
            let expected = format!("the refusal names the holder, which is process {holder}");
            (expected, answer.text.clone())
        });
    }
}

fn shown(saved: &Saved) -> String {
    let id = saved.id.as_deref().map_or("(id not told)".to_owned(), |id| format!("{id:?}"));
    format!("{id} with state {}", saved.sha)
}

/// What may be answered, for a person.
pub(super) fn wanted(thread: &str, allowed: &Allowed<'_>) -> String {
    let mut all: Vec<String> = allowed.any.iter().map(|saved| shown(saved)).collect();
    let others = [
        (allowed.none, "none"),
        (allowed.damaged, "an integrity error"),
        (allowed.newer, "the refusal of a newer format"),
    ];
    all.extend(others.iter().filter(|(may, _)| *may).map(|(_, text)| (*text).to_owned()));
    format!("the latest of {thread:?} is {}", all.join(", or "))
}

/// Content that was never saved so, or was damaged since. `None` when it is what was saved.
pub(super) fn false_content(
    saved: Option<&Saved>,
    thread: &str,
    given: (&str, &str, &str),
) -> Option<&'static str> {
    let (id, of, sha) = given;
    match saved {
        _ if of != thread => Some("thread"),
        Some(saved) if saved.is(id) && saved.sha != sha => Some("content"),
        Some(saved) if saved.file != File::Sound => Some("damaged"),
        None => Some("unknown"),
        Some(_) => None,
    }
}

pub(super) fn latest(
    walk: &mut Walk<'_, '_>,
    call: &StoreCall,
    answer: &StoreAnswer,
    evidence: &Evidence,
) {
    let thread = call.thread.as_deref().unwrap_or_default();
    let allowed = walk.model.latest(thread, Some(walk.opens));
    let (law, rule) = walk.past.law(&walk.model, thread);
    walk.f.checked(law, 1);
    if allowed.newer {
        // refused by name, not passed over
        walk.f.checked(K8, 1);
    }
    let wanted = || wanted(thread, &allowed);
    let wrong = match (answer.error.as_deref(), answer.id.as_deref()) {
        (Some(kind), _) if is_system(kind) => None,
        (Some("schema_mismatch"), _) if allowed.newer => None,
        (Some("integrity_check_failed" | "deserialization_failed"), _) if allowed.damaged => None,
        (None, None) if allowed.none => None,
        (None, None) => Some((law, rule, "none".to_owned())),
        (Some(_), _) => Some((law, rule, answer.text.clone())),
        (None, Some(id)) => {
            let sha = answer.sha.as_deref().unwrap_or_default();
            let of = answer.thread.as_deref().unwrap_or_default();
            let known = walk.places.find(&walk.model, id);
            let unnamed = walk.model.of(thread).iter().find(|s| s.id.is_none() && s.sha == sha);
            let given = format!("{id:?} of {of:?} with state {sha}");
            walk.f.checked(K2, 1);
            match false_content(known.or(unnamed), thread, (id, of, sha)) {
                Some(rule) => Some((K2, rule, given)),
                None if allowed.any.iter().any(|saved| saved.can_be(id, sha)) => None,
                None if allowed.newer => Some((K8, "passed_over", given)),
                None => Some((law, rule, given)),
            }
        }
    };
    if let Some((law, rule, observed)) = wrong {
        walk.f.broken(law, rule, evidence.clone(), || (wanted(), observed));
    }
}

pub(super) fn load(
    walk: &mut Walk<'_, '_>,
    call: &StoreCall,
    answer: &StoreAnswer,
    evidence: &Evidence,
) {
    let id = call.id.as_deref().unwrap_or_default();
    if let (None, Some(thread), Some(sha)) = (&answer.error, &answer.thread, &answer.sha)
        && walk.places.find(&walk.model, id).is_none()
    {
        // A save that was cut off has told no id; its state tells which one it is.
        let mut all = walk.model.of(thread).iter();
        if let Some(at) = all.position(|saved| saved.id.is_none() && saved.sha == *sha) {
            walk.places.named(&mut walk.model, thread, at, id);
        }
    }
    let opens = walk.opens;
    let saved = walk.places.find(&walk.model, id);
    let (law, rule) = walk.past.undamaged(&walk.model);
    walk.f.checked(law, 1);
    let wrong = match answer.error.as_deref() {
        None => {
            walk.f.checked(K2, 1);
            let of = answer.thread.as_deref().unwrap_or_default();
            let sha = answer.sha.as_deref().unwrap_or_default();
            let in_thread = walk.model.of(of).iter().any(|saved| saved.is(id));
            let home = if saved.is_none() || in_thread { of } else { "another thread" };
            match (false_content(saved, home, (id, of, sha)), saved) {
                (Some(rule), _) => Some((K2, rule)),
                (None, Some(saved)) if saved.failed_in == Some(opens) => Some((K11, "ghost")),
                (None, Some(saved)) if saved.stands == Stands::Gone => Some((K1, "deleted")),
                _ => None,
            }
        }
        Some(kind) => match saved {
            Some(saved) if saved.file == File::Newer => {
                walk.f.checked(K8, 1);
                (kind != "schema_mismatch").then_some((K8, "typed"))
            }
            Some(saved) if saved.file == File::Sound && saved.stands == Stands::Held => {
                (!is_system(kind) && !saved.optional).then_some((law, rule))
            }
            _ => None,
        },
    };
    let expected = saved.map_or("no checkpoint has this id".to_owned(), |saved| {
        format!("{}, which {:?} ({:?} file)", shown(saved), saved.stands, saved.file).to_lowercase()
    });
    if let Some((law, rule)) = wrong {
        walk.f.broken(law, rule, evidence.clone(), || {
            let given = answer.sha.as_deref().map(|sha| format!("a state with digest {sha}"));
            (expected, given.unwrap_or_else(|| answer.text.clone()))
        });
    }
}

/// Ids of a thread, newest first.
pub(super) fn list(
    walk: &mut Walk<'_, '_>,
    call: &StoreCall,
    answer: &StoreAnswer,
    evidence: &Evidence,
) {
    let thread = call.thread.as_deref().unwrap_or_default();
    let (law, rule) = walk.past.undamaged(&walk.model);
    walk.f.checked(law, 1);
    let wrong = listed(walk.model.of(thread), &answer.ids, Some(walk.opens));
    if let Some((expected, observed)) = wrong {
        let observed = format!("{observed}; listed: {:?}", answer.ids);
        walk.f.broken(law, rule, evidence.clone(), || (expected, observed));
    }
    walk.listed.insert(thread.to_owned(), answer.ids.clone());
}

/// What is wrong with a list, if anything: what was expected and what was observed.
pub(super) fn listed(all: &[Saved], ids: &[String], open: Option<u64>) -> Option<(String, String)> {
    let mut unnamed = all.iter().filter(|saved| saved.id.is_none()).count();
    let mut last = usize::MAX;
    for id in ids {
        let Some(at) = all.iter().rposition(|saved| saved.is(id) && saved.stands != Stands::Gone)
        else {
            let gone = all.iter().any(|saved| saved.is(id));
            if !gone && unnamed > 0 {
                unnamed -= 1;
                continue;
            }
            let what = if gone { "was deleted" } else { "was never saved" };
            let expected = "only what was saved and not deleted is listed".to_owned();
            return Some((expected, format!("{id:?} {what}")));
        };
        if at >= last {
            let expected = "a list has the newest first, and each once".to_owned();
            return Some((expected, format!("{id:?} comes too late or twice")));
        }
        last = at;
        if open.is_some() && all.get(at).is_some_and(|saved| saved.failed_in == open) {
            let expected = "a save that said Err is in no answer".to_owned();
            return Some((expected, format!("{id:?} is listed")));
        }
    }
    let must = |saved: &&Saved| {
        saved.stands == Stands::Held && !saved.optional && saved.file == File::Sound
    };
    let missing = all.iter().filter(must).find(|saved| !ids.iter().any(|id| saved.is(id)))?;
    let expected = "everything that was saved and not deleted is listed".to_owned();
    Some((expected, format!("{} is missing", shown(missing))))
}

pub(super) fn threads(walk: &mut Walk<'_, '_>, answer: &StoreAnswer, evidence: &Evidence) {
    let (law, rule) = walk.past.undamaged(&walk.model);
    walk.f.checked(law, 1);
    let held = |saved: &Saved| {
        saved.stands == Stands::Held && saved.file == File::Sound && !saved.optional
    };
    let missing = walk.model.threads.iter().find(|(thread, all)| {
        all.iter().any(held) && !answer.ids.iter().any(|known| known == *thread)
    });
    let strange = answer.ids.iter().find(|thread| {
        let there = |saved: &Saved| saved.stands != Stands::Gone;
        !walk.model.of(thread).iter().any(there)
    });
    let missing = missing.map(|(thread, _)| format!("{thread:?} is missing"));
    let strange = strange.map(|thread| format!("{thread:?} has nothing that was saved"));
    if let Some(observed) = missing.or(strange) {
        walk.f.broken(law, rule, evidence.clone(), || {
            ("the threads are those that have checkpoints".to_owned(), observed)
        });
    }
}

/// Every damaged file that is still there is among those that are not healthy, and none is that a
/// save gave and nothing has touched since.
pub(super) fn verify(walk: &mut Walk<'_, '_>, answer: &StoreAnswer, evidence: &Evidence) {
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    for path in &walk.ill {
        let name = name(path);
        walk.f.checked(K2, 1);
        if !answer.ids.contains(&name) {
            walk.f.broken(K2, "verify", evidence.clone(), || {
                let expected = format!("verify says that {name} is not healthy");
                (expected, format!("it names {:?}", answer.ids))
            });
        }
    }
    if !walk.failed.is_empty() {
        return;
    }
    walk.f.checked(K2, walk.files.len().min(1) as u64);
    let sound = |id: &str| {
        let saved = walk.places.find(&walk.model, id);
        saved.is_some_and(|saved| saved.file == File::Sound && saved.stands == Stands::Held)
    };
    let alarm = walk.files.iter().find(|(path, id)| {
        !walk.ill.contains(*path) && answer.ids.contains(&name(path)) && sound(id)
    });
    if let Some((path, id)) = alarm {
        walk.f.broken(K2, "false_alarm", evidence.clone(), || {
            let expected = format!("{} is healthy: it holds {id:?}, undamaged", name(path));
            (expected, format!("verify names {:?}", answer.ids))
        });
    }
}
