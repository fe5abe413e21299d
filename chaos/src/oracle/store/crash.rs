//! What a store answered on a disk that a crash could leave, held against what was acknowledged
//! before that crash.

use super::answers;
use super::model::{File, Model, Stands};
use crate::history::{CrashState, Found};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::At;
use crate::oracle::laws::LawId::{K1, K2, K9};

/// What was known at an operation of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment {
    /// Operations that had changed the disk.
    pub(super) ops: u64,
    pub(super) model: Model,
}

/// What was known last before the next operation.
pub(super) fn at(moments: &[Moment], ops: u64) -> Option<&Moment> {
    let end = moments.partition_point(|moment| moment.ops <= ops);
    moments.get(..end)?.last()
}

pub(super) fn judge(moment: Option<&Moment>, state: &CrashState, at: At, f: &mut Findings) {
    let Some(moment) = moment else { return };
    f.checked(K1, 1);
    let evidence = || Evidence::line(at);
    let here = |text: String| format!("after a crash that leaves {}: {text}", state.state);
    if let Some(error) = &state.error {
        f.broken(K1, "open", evidence(), || {
            let expected = "a store can be opened on whatever a crash leaves".to_owned();
            (expected, here(format!("open failed: {error}")))
        });
        return;
    }
    f.checked(K9, 1);
    if !state.left.is_empty() {
        f.broken(K9, "swept", evidence(), || {
            let expected = "temporary files of an interrupted save are removed at the next open";
            (expected.to_owned(), here(format!("{} are still there", state.left.join(", "))))
        });
    }
    for (thread, found) in &state.latest {
        let wrong = thread_is_wrong(&moment.model, thread, found);
        if let Some((law, rule, expected, observed)) = wrong {
            f.broken(law, rule, evidence(), || (expected, here(observed)));
        }
    }
}

type Wrong = (crate::oracle::LawId, &'static str, String, String);

fn thread_is_wrong(model: &Model, thread: &str, found: &Found) -> Option<Wrong> {
    let all = model.of(thread);
    let allowed = model.latest(thread, None);
    let wanted = || answers::wanted(thread, &allowed);
    let older = |observed: String| Some((K1, "crash", wanted(), observed));
    match (&found.error, &found.id, &found.sha) {
        (Some(error), ..) if !(error == "integrity_check_failed" && allowed.damaged) => {
            return older(format!("the latest of {thread:?} is the error {error}"));
        }
        (None, None, _) if !allowed.none => return older(format!("{thread:?} has none")),
        (None, Some(id), Some(sha)) if !allowed.any.iter().any(|saved| saved.can_be(id, sha)) => {
            let observed = format!("the latest of {thread:?} is {id:?} with state {sha}");
            let known = all.iter().any(|saved| saved.can_be(id, sha));
            if known {
                return older(observed);
            }
            return Some((K2, "content", wanted(), observed));
        }
        _ => {}
    }
    if let (Some(id), Some((newest, state))) = (&found.id, found.listed.first())
        && newest != id
        && !state.starts_with("error")
    {
        let expected = format!("the latest of {thread:?} is the first that is listed, {newest:?}");
        return Some((K1, "mix", expected, format!("the latest is {id:?}")));
    }
    for (id, sha) in &found.listed {
        // a save that was refused because the id is taken names the id too
        let mut same = all.iter().rev().filter(|saved| saved.is(id));
        let there = same.clone().find(|saved| saved.stands != Stands::Gone);
        let saved = there.or_else(|| same.next());
        if let Some(saved) = saved.filter(|saved| saved.sha != *sha && saved.file == File::Sound) {
            let expected = format!("{id:?} has state {}", saved.sha);
            return Some((K2, "content", expected, format!("its load gave {sha}")));
        }
        if let Some(saved) = saved.filter(|saved| saved.stands == Stands::Gone) {
            let expected = match saved.failed_in {
                Some(_) => "what was not saved stays away once a later change is acknowledged",
                None => "what was deleted stays so",
            };
            return Some((K1, "deleted", expected.to_owned(), format!("{id:?} is back")));
        }
    }
    let ids: Vec<String> = found.listed.iter().map(|(id, _)| id.clone()).collect();
    let (expected, observed) = answers::listed(all, &ids, None)?;
    Some((K1, "list", expected, format!("{observed}, of {thread:?}")))
}
