//! One request in, one answer out.

mod basic;
mod fetch;
mod groups;
mod metadata;
mod offsets;
pub(crate) mod produce;

use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::outgoing::answered;
use super::shape;
use crate::history::{Kind, ProduceTruth, Recorder, Src};

/// APIs served and their lowest and highest version. Topic ids and static members of groups are not
/// modelled, so every range ends before they are needed.
pub const SERVED: [(ApiKey, i16, i16); 14] = [
    (ApiKey::Produce, 3, 10),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 0, 9),
    (ApiKey::OffsetCommit, 2, 6),
    (ApiKey::OffsetFetch, 1, 7),
    (ApiKey::FindCoordinator, 0, 4),
    (ApiKey::JoinGroup, 0, 4),
    (ApiKey::Heartbeat, 0, 2),
    (ApiKey::LeaveGroup, 0, 2),
    (ApiKey::SyncGroup, 0, 2),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::InitProducerId, 0, 4),
];

/// Characters of a client's name that are kept.
const MAX_CLIENT: usize = 100;

/// Name of a served API as in histories and scenario files.
#[must_use]
pub const fn name(api: ApiKey) -> &'static str {
    match api {
        ApiKey::Produce => "Produce",
        ApiKey::Fetch => "Fetch",
        ApiKey::ListOffsets => "ListOffsets",
        ApiKey::Metadata => "Metadata",
        ApiKey::OffsetCommit => "OffsetCommit",
        ApiKey::OffsetFetch => "OffsetFetch",
        ApiKey::FindCoordinator => "FindCoordinator",
        ApiKey::JoinGroup => "JoinGroup",
        ApiKey::Heartbeat => "Heartbeat",
        ApiKey::LeaveGroup => "LeaveGroup",
        ApiKey::SyncGroup => "SyncGroup",
        ApiKey::ApiVersions => "ApiVersions",
        ApiKey::CreateTopics => "CreateTopics",
        ApiKey::InitProducerId => "InitProducerId",
        _ => "not served",
    }
}

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From {
    /// The broker that was asked.
    pub(crate) broker: i32,
    /// The connection's number.
    pub(crate) conn: u64,
}

/// An answer on its way.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// What to write, length included; `None` for acks=0.
    pub(crate) frame: Option<Bytes>,
    /// Number of the request's line in the history.
    pub(crate) line: Option<u64>,
    /// Error code at the top.
    pub(crate) top: i16,
    /// Error codes per partition of a Produce, in the order of the request.
    pub(crate) codes: Vec<i16>,
    /// Records of a Produce that wait for this answer.
    pub(crate) records: u64,
    /// Held back by a scripted delay.
    pub(crate) delay: Duration,
    /// Fault to lift once this answer is settled.
    pub(crate) lifts: Option<usize>,
    /// The connection is not read for so long after this answer.
    pub(crate) mute: Duration,
    /// The connection is closed instead of an answer.
    pub(crate) close: bool,
    /// The answer comes from elsewhere and is not here yet.
    pub(crate) awaited: Option<oneshot::Receiver<Late>>,
    /// Room that the answer takes among those that wait.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// An answer that came from elsewhere.
#[derive(Debug)]
pub(crate) struct Late {
    /// What to write, length included.
    pub(crate) frame: Bytes,
    /// Error code at the top.
    pub(crate) top: i16,
    /// Error codes per partition of a Produce, in the order of the request.
    pub(crate) codes: Vec<i16>,
    /// When it came.
    pub(crate) at: Instant,
    /// Room that it takes among the answers that wait.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Reply {
    /// True when there is an answer, or one will come.
    pub(crate) fn answers(&self) -> bool {
        self.frame.is_some() || self.is_awaited()
    }

    /// True when the answer is not here yet.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    /// Waits for the answer and says when it came; `None` when it never will.
    pub(crate) async fn arrive(&mut self) -> Option<Instant> {
        let Late { frame, top, codes, at, room } = self.awaited.as_mut()?.await.ok()?;
        (self.frame, self.top, self.codes) = (Some(frame), top, codes);
        (self.awaited, self.room) = (None, room);
        Some(at)
    }

    /// Notes in the history that the answer left.
    pub(crate) fn written(&self, recorder: &Recorder) {
        let Some(line) = self.line else { return };
        recorder.amend(line, |kind| {
            let Kind::Request { produce, answered, .. } = kind else { return };
            *answered = Some(self.top);
            for (truth, code) in produce.iter_mut().zip(&self.codes) {
                truth.answered = Some(*code);
            }
        });
    }
}

/// The fixed part of every request.
pub(crate) struct Head {
    api: ApiKey,
    version: i16,
    correlation: i32,
    /// How the client calls itself, cut where it goes on for long.
    client: String,
}

/// A request cannot be served: the connection is closed, as Kafka does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hopeless;

impl Head {
    fn encode<R: Encodable + HeaderVersion>(
        &self,
        body: &R,
        version: i16,
    ) -> Result<Bytes, Hopeless> {
        answered(self.correlation, version, body).ok_or(Hopeless)
    }

    fn answer<R: Encodable + HeaderVersion>(&self, body: &R, top: i16) -> Result<Reply, Hopeless> {
        let frame = Some(self.encode(body, self.version)?);
        Ok(Reply { frame, top, ..Reply::default() })
    }
}

/// Decodes a body whose outline was checked.
fn body<R: Decodable>(head: &Head, frame: &mut Bytes) -> Result<R, Hopeless> {
    R::decode(frame, head.version).map_err(|_| Hopeless)
}

/// Serves one request (`frame`: without its length). Waits only for a Fetch without data, and
/// for the other members of a group.
///
/// # Errors
/// [`Hopeless`]: the bytes are no request that is served; close the connection.
pub(crate) async fn serve(
    cluster: &Cluster,
    from: From,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let fixed = frame.get(..8).ok_or(Hopeless)?;
    let mut fixed = fixed;
    let (key, version, correlation) = (fixed.get_i16(), fixed.get_i16(), fixed.get_i32());
    let api = ApiKey::try_from(key).map_err(|()| Hopeless)?;
    let mut head = Head { api, version, correlation, client: String::new() };
    let (.., min, max) = *SERVED.iter().find(|(served, ..)| *served == api).ok_or(Hopeless)?;
    if !(min..=max).contains(&version) {
        // A client from the future asks for its own ApiVersions first; it is told in version 0.
        let refused = (api == ApiKey::ApiVersions).then(|| basic::versions_refused(&head));
        return Ok(record(cluster, from, &head, refused.ok_or(Hopeless)??, None, Vec::new()));
    }
    let header = RequestHeader::decode(&mut frame, api.request_header_version(version));
    let client = header.map_err(|_| Hopeless)?.client_id.unwrap_or_default();
    head.client = client.chars().take(MAX_CLIENT).collect();
    if !shape::sound(api, version, &frame) {
        return Err(Hopeless);
    }
    let reply = match api {
        ApiKey::Produce => return produce::serve(cluster, from, &head, frame),
        ApiKey::Fetch => fetch::serve(cluster, from, &head, frame).await?,
        ApiKey::ListOffsets => fetch::list_offsets(cluster, from, &head, frame)?,
        ApiKey::Metadata => metadata::serve(cluster, &head, frame)?,
        ApiKey::CreateTopics => metadata::create_topics(cluster, &head, frame)?,
        ApiKey::FindCoordinator => basic::find_coordinator(cluster, &head, frame)?,
        ApiKey::JoinGroup => groups::join(cluster, from, &head, frame).await?,
        ApiKey::SyncGroup => groups::sync(cluster, from, &head, frame).await?,
        ApiKey::Heartbeat => groups::heartbeat(cluster, from, &head, frame)?,
        ApiKey::LeaveGroup => groups::leave(cluster, from, &head, frame)?,
        ApiKey::OffsetCommit => offsets::commit(cluster, from, &head, frame)?,
        ApiKey::OffsetFetch => offsets::fetch(cluster, from, &head, frame)?,
        ApiKey::InitProducerId => basic::init_producer_id(cluster, &head, frame)?,
        ApiKey::ApiVersions => basic::versions(cluster, &head)?,
        _ => return Err(Hopeless),
    };
    Ok(record(cluster, from, &head, reply, None, Vec::new()))
}

/// Writes the request into the history, where it stands from now on.
fn record(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut reply: Reply,
    acks: Option<i16>,
    produce: Vec<ProduceTruth>,
) -> Reply {
    let From { broker, conn } = from;
    let (api, correlation) = (name(head.api).to_owned(), head.correlation);
    let kind = Kind::Request { broker, api, conn, correlation, produce, answered: None, acks };
    reply.line = cluster.recorder().place(Src::Broker, kind);
    reply
}
