//! What becomes of a broker's answer: what it says of the truth, and what the client is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, ProduceResponse,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::addresses;
use super::frame::{Head, PRODUCE};
use super::request::{Part, millis, refuse_in};
use super::site::{Core, Mode, Open, Sender, Shared, Wait};
use crate::broker::api::Late;
use crate::broker::codes;
use crate::broker::links::Site as _;
use crate::broker::script::Scripted;
use crate::history::Kind;

/// Errors after which a batch may be in the log all the same.
const PERHAPS: [i16; 6] = [
    -1, // UNKNOWN_SERVER_ERROR
    codes::NOT_LEADER_OR_FOLLOWER,
    7,  // REQUEST_TIMED_OUT
    13, // NETWORK_EXCEPTION
    codes::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    56, // KAFKA_STORAGE_ERROR
];

/// A request that its broker has not answered.
pub(super) struct Pending {
    pub(super) head: Head,
    /// Line of the request in the history.
    pub(super) line: Option<u64>,
    pub(super) ask: Ask,
    pub(super) late: oneshot::Sender<Late>,
    pub(super) _open: Option<Open>,
    /// Since it is being passed on.
    pub(super) waits: Option<Wait>,
}

/// What was asked.
pub(super) enum Ask {
    Produce { parts: Vec<Part>, throttle: Duration },
    Metadata { all: bool, scripted: Option<Scripted> },
    Versions { code: Option<i16> },
    Other,
}

/// An answer as it leaves.
struct Told {
    frame: Bytes,
    top: i16,
    codes: Vec<i16>,
}

impl Pending {
    /// Takes the broker's answer (length included); false when it is the answer to something else,
    /// or must not be passed on.
    pub(super) fn finish(
        self,
        site: &Arc<Shared>,
        frame: &Bytes,
        room: Option<OwnedSemaphorePermit>,
    ) -> bool {
        let correlation = frame.get(4..8).map(|mut id| id.get_i32());
        if correlation != Some(self.head.correlation) {
            return false;
        }
        let Self { head, line, ask, late, _open, waits } = self;
        drop(waits);
        let plain = || Told { frame: frame.clone(), top: head.top(frame), codes: Vec::new() };
        let told = match ask {
            Ask::Produce { parts, throttle } => produce(site, &head, line, &parts, throttle, frame),
            Ask::Metadata { all, scripted } => metadata(site, &head, all, scripted, frame),
            Ask::Versions { code } => versions(site.mode, &head, code, frame),
            Ask::Other => None,
        };
        let Told { frame, top, codes } = told.unwrap_or_else(plain);
        let frame = match site.mode {
            Mode::Rewriting => addresses::ours(site, &head, frame),
            Mode::Frames | Mode::Bytes => Some(frame),
        };
        // its address would lead the client past the proxy
        let Some(frame) = frame else { return false };
        // Nobody waits for it when the client's connection is gone.
        drop(late.send(Late { frame, top, codes, at: Instant::now(), room }));
        true
    }
}

/// What a broker said of one partition.
struct Said {
    code: i16,
    base: i64,
}

fn produce(
    site: &Arc<Shared>,
    head: &Head,
    line: Option<u64>,
    parts: &[Part],
    throttle: Duration,
    frame: &Bytes,
) -> Option<Told> {
    let mut answer = head.answer::<ProduceResponse>(frame)?;
    let said: Vec<Option<Said>> = parts.iter().map(|part| said(&answer, part)).collect();
    learn(site, line, parts, &said);
    let mut changed = !throttle.is_zero();
    answer.throttle_time_ms = answer.throttle_time_ms.max(millis(throttle));
    let mut codes = Vec::with_capacity(parts.len());
    for (part, said) in parts.iter().zip(&said) {
        let code = said.as_ref().map(|said| said.code);
        if code == Some(codes::TOPIC_AUTHORIZATION_FAILED) {
            site.core().links.script.met_denied(part.topic.as_str());
        }
        let told = match part.after.filter(|_| code == Some(codes::NONE)) {
            Some(after) => {
                changed = true;
                spoil(&mut answer, part, after);
                Some(after)
            }
            None => part.refused.or(code),
        };
        if part.refused.is_some() {
            changed = true;
            refuse_in(&mut answer, part);
        }
        codes.push(told.unwrap_or(codes::NONE));
    }
    let frame = if changed { head.reply(&answer)? } else { frame.clone() };
    Some(Told { frame, top: codes::NONE, codes })
}

fn said(answer: &ProduceResponse, part: &Part) -> Option<Said> {
    let topic = answer.responses.iter().find(|topic| topic.name == part.topic)?;
    let found = topic.partition_responses.iter().find(|p| p.index == part.partition)?;
    Some(Said { code: found.error_code, base: found.base_offset })
}

/// A success is told as an error.
fn spoil(answer: &mut ProduceResponse, part: &Part, code: i16) {
    let topics = answer.responses.iter_mut().filter(|topic| topic.name == part.topic);
    for told in topics.flat_map(|topic| &mut topic.partition_responses) {
        if told.index == part.partition {
            told.error_code = code;
            told.base_offset = -1;
            told.log_start_offset = -1;
        }
    }
}

/// Completes the request's line with what its broker did.
fn learn(site: &Arc<Shared>, line: Option<u64>, parts: &[Part], said: &[Option<Said>]) {
    let mut learned = Vec::with_capacity(parts.len());
    for (part, said) in parts.iter().zip(said) {
        let known = match said {
            Some(said) if said.code == codes::NONE => {
                let sender = Sender {
                    topic: site.logical(&part.topic),
                    partition: part.partition,
                    pid: part.pid,
                    epoch: part.epoch,
                };
                let new =
                    said.base >= 0 && site.core().told.is_new(&sender, part.sequence, said.base);
                Some(new.then_some(said.base))
            }
            Some(said) if PERHAPS.contains(&said.code) => None,
            Some(_) => Some(None),
            None => part.refused.map(|_| None),
        };
        learned.push(known);
    }
    let Some(line) = line else { return };
    site.recorder().amend(line, |kind| {
        let Kind::Request { produce, .. } = kind else { return };
        for (truth, known) in produce.iter_mut().zip(learned) {
            if let Some(appended) = known {
                (truth.appended, truth.unknown) = (appended, false);
            }
        }
    });
}

/// Metadata as the faults in force have it; `None` when none of them touches it.
fn metadata(
    site: &Arc<Shared>,
    head: &Head,
    all: bool,
    scripted: Option<Scripted>,
    frame: &Bytes,
) -> Option<Told> {
    let mut answer = head.answer::<MetadataResponse>(frame)?;
    let mut core = site.core();
    note_leader(&mut core, &site.main.real, &answer);
    let script = &mut core.links.script;
    let hidden = answer.topics.len();
    answer
        .topics
        .retain(|topic| !(all && topic.name.as_ref().is_some_and(|name| script.hidden(name))));
    let mut changed = hidden != answer.topics.len();
    for topic in &mut answer.topics {
        let Some(name) = topic.name.as_ref().map(|name| name.as_str().to_owned()) else { continue };
        if topic.error_code == codes::TOPIC_AUTHORIZATION_FAILED {
            script.met_denied(&name);
        }
        let scripted = script.code_for(scripted, &name);
        let missing = || codes::UNKNOWN_TOPIC_OR_PARTITION;
        if let Some(code) = scripted.or_else(|| script.missing(&name).then(missing)) {
            topic.error_code = code;
            topic.partitions.clear();
            changed = true;
            continue;
        }
        let leaderless = script.leaderless(&name);
        let alone = script.insync_lost(&name);
        changed |= leaderless || alone;
        for partition in &mut topic.partitions {
            if alone {
                partition.isr_nodes = vec![partition.leader_id];
            }
            if leaderless {
                partition.error_code = codes::LEADER_NOT_AVAILABLE;
                partition.leader_id = BrokerId(-1);
            }
        }
    }
    drop(core);
    let frame = if changed { head.reply(&answer)? } else { frame.clone() };
    Some(Told { frame, top: codes::NONE, codes: Vec::new() })
}

fn note_leader(core: &mut Core, main: &str, answer: &MetadataResponse) {
    let topic = answer.topics.iter().find(|t| t.name.as_ref().is_some_and(|n| n.as_str() == main));
    let first = topic.and_then(|t| t.partitions.iter().find(|p| p.partition_index == 0));
    let leader = first.map(|partition| *partition.leader_id).filter(|id| *id >= 0);
    core.leader = leader.or(core.leader);
}

/// Produce is offered as far as topics are named by their names, and what carries addresses as far
/// as they can be written anew.
fn versions(mode: Mode, head: &Head, code: Option<i16>, frame: &Bytes) -> Option<Told> {
    // A broker answers a version that it does not know in version 0.
    let unsupported = frame.get(8..10) == Some(&codes::UNSUPPORTED_VERSION.to_be_bytes()[..]);
    let head = Head { version: if unsupported { 0 } else { head.version }, ..*head };
    let mut answer = head.answer::<ApiVersionsResponse>(frame)?;
    let mut changed = code.is_some_and(|code| code != answer.error_code);
    answer.error_code = code.unwrap_or(answer.error_code);
    for api in answer.api_keys.iter_mut().filter(|api| api.api_key == ApiKey::Produce as i16) {
        changed |= api.max_version > PRODUCE;
        api.max_version = api.max_version.min(PRODUCE);
    }
    if mode == Mode::Rewriting {
        changed = true;
        addresses::offered(&mut answer.api_keys);
    }
    let top = answer.error_code;
    let frame = if changed { head.reply(&answer)? } else { frame.clone() };
    Some(Told { frame, top, codes: Vec::new() })
}
