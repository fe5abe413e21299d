//! Whether a store was asked for everything: of what nobody asked a history proves nothing.

use std::collections::BTreeSet;

use crate::history::{Kind, Src, StoreAnswer, StoreCall};
use crate::lane::disk::{SAMPLED, last_variants};
use crate::oracle::findings::Findings;
use crate::oracle::index::Index;

/// What was asked of the store that is open, since it was last changed.
#[derive(Default)]
struct Asked<'a> {
    latest: BTreeSet<&'a str>,
    listed: BTreeSet<&'a str>,
    /// Ids that were listed.
    wanted: BTreeSet<&'a str>,
    loaded: BTreeSet<&'a str>,
    threads: bool,
    verified: bool,
    /// It was said that only a part was asked for.
    partly: bool,
}

struct Walk<'a> {
    /// A driver may lack what all others have.
    is_driver: bool,
    call: Option<&'a StoreCall>,
    /// Everything was ever saved on these.
    threads: BTreeSet<&'a str>,
    asked: Asked<'a>,
    /// The variant of the store that is open.
    open: Option<&'a str>,
    /// It has changed the directory.
    changed: bool,
    /// What nobody asked of the store that was closed last.
    lacks: Option<String>,
    /// The variant of the first store.
    own: Option<&'a str>,
    /// Variants under which everything was asked for since the last change.
    since: BTreeSet<&'a str>,
    missing: BTreeSet<String>,
}

/// Whether every store that was closed was asked for everything before, and whether the directory
/// was opened again at the end, under each variant that can have it.
pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    let mut walk = Walk {
        is_driver: index.subject.starts_with("driver:"),
        call: None,
        threads: BTreeSet::new(),
        asked: Asked::default(),
        open: None,
        changed: false,
        lacks: None,
        own: None,
        since: BTreeSet::new(),
        missing: BTreeSet::new(),
    };
    for line in index.lines {
        match (&line.kind, line.src) {
            (Kind::StoreCall(call), Src::Harness) => walk.called(call),
            (Kind::StoreAnswer(answer), _) => walk.answered(answer),
            (Kind::AtRest(there), Src::Fs) => drop(walk.threads.insert(&there.thread)),
            (Kind::Proc { what, .. }, Src::Os) if what == "crash" => walk.crashed(),
            (Kind::Proc { what, .. }, Src::Harness) if what == SAMPLED => walk.asked.partly = true,
            _ => {}
        }
    }
    walk.ends(index);
    f.missing.append(&mut walk.missing);
}

impl<'a> Walk<'a> {
    fn called(&mut self, call: &'a StoreCall) {
        self.call = Some(call);
        match call.op.as_str() {
            "open" => {
                self.missing.extend(self.lacks.take());
                self.asked = Asked::default();
                self.changed = false;
                self.own = self.own.or(call.variant.as_deref());
            }
            "save" | "delete" | "delete_thread" | "retain" => {
                if call.op == "save" {
                    self.threads.extend(call.thread.as_deref());
                }
                self.asked = Asked::default();
                self.changed = true;
                self.since.clear();
            }
            _ => {}
        }
    }

    fn answered(&mut self, answer: &'a StoreAnswer) {
        let Some(call) = self.call.take().filter(|call| call.call == answer.call) else { return };
        let (thread, id) = (call.thread.as_deref(), call.id.as_deref());
        match call.op.as_str() {
            "open" if answer.error.is_none() => self.open = call.variant.as_deref(),
            // nobody can ask it for anything, and why not is judged elsewhere
            "open" => self.since.extend(call.variant.as_deref()),
            "latest" => self.asked.latest.extend(thread),
            "list" => {
                self.asked.listed.extend(thread);
                self.asked.wanted.extend(answer.ids.iter().map(String::as_str));
            }
            "load" => self.asked.loaded.extend(id),
            "threads" => self.asked.threads = true,
            "verify" => self.asked.verified = true,
            "close" => {
                let Some(variant) = self.open.take() else { return };
                self.lacks = self.lacks();
                if self.lacks.is_none() && !self.changed {
                    self.since.insert(variant);
                }
            }
            _ => {}
        }
    }

    /// Whoever is killed is asked for nothing any more.
    fn crashed(&mut self) {
        self.call = None;
        self.open = None;
        self.lacks = None;
        self.since.clear();
    }

    /// What nobody asked, if anything.
    fn lacks(&self) -> Option<String> {
        let Asked { latest, listed, wanted, loaded, threads, verified, partly } = &self.asked;
        if *partly {
            return latest.is_empty().then(|| "an audit that asked for nothing".to_owned());
        }
        let before = "before the store was closed";
        let thread = |asked: &BTreeSet<&str>, what: &str| {
            let thread = self.threads.iter().find(|thread| !asked.contains(**thread))?;
            Some(format!("nobody asked for the {what} of thread {thread:?} {before}"))
        };
        let unloaded = wanted.difference(loaded).next();
        let whole = self.is_driver || (*threads && *verified);
        thread(latest, "latest")
            .or_else(|| thread(listed, "list"))
            .or_else(|| unloaded.map(|id| format!("nobody asked for {id:?} {before}")))
            .or_else(|| (!whole).then(|| format!("nobody asked for threads and health {before}")))
    }

    fn ends(&mut self, index: &Index<'_>) {
        self.missing.extend(self.lacks.take());
        if self.open.is_some() {
            self.missing.insert("the last store was never closed".to_owned());
        }
        let Some(own) = self.own else { return };
        let wanted = last_variants(index.scenario, own);
        let lacks = wanted
            .into_iter()
            .find(|variant| !self.since.contains(variant) && (!self.is_driver || *variant == own));
        if let Some(variant) = lacks {
            let text = format!(
                "nobody opened the directory as {variant} after its last change, and asked for all"
            );
            self.missing.insert(text);
        }
    }
}
