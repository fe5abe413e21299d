//! `JoinGroup`, `SyncGroup`, `Heartbeat`, `LeaveGroup`: the classic protocol of consumer groups.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{From, Head, Hopeless, Reply, body, name};
use crate::broker::cluster::Cluster;
use crate::broker::codes;
use crate::broker::group::{Groups, Join, Joined, NotTaken};
use crate::broker::state::State;

/// What faults do to a request about a group.
pub(super) struct Asked {
    /// The code to answer, if it is known before the group is asked.
    pub(super) refused: Result<(), i16>,
    delay: Duration,
    lifts: Option<usize>,
}

impl Asked {
    /// Of a request to this broker; it is refused where a fault says so, or another broker
    /// coordinates the group.
    pub(super) fn of(state: &mut State, from: From, head: &Head, group: &str) -> Self {
        let scripted = state.links.script.error(name(head.api), &[]);
        let (delay, lifts) = state.links.script.delay(name(head.api), &[]);
        let refused = match scripted {
            Some(scripted) => Err(scripted.code),
            None if group.is_empty() => Err(codes::INVALID_GROUP_ID),
            None if state.coordinator(group) != Some(from.broker) => Err(codes::NOT_COORDINATOR),
            None => Ok(()),
        };
        Self { refused, delay, lifts }
    }

    pub(super) fn reply(self, reply: Reply) -> Reply {
        Reply { delay: self.delay, lifts: self.lifts, ..reply }
    }
}

/// Asks until there is an answer: at every change of a group, and when something is due.
async fn until<T>(
    cluster: &Cluster,
    group: &str,
    mut ask: impl FnMut(&mut Groups, u64) -> Option<T>,
) -> T {
    loop {
        let changed = cluster.regrouped().notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let now_us = cluster.recorder().now_us();
        let due_us = {
            let mut state = cluster.state();
            if let Some(answer) = ask(&mut state.groups, now_us) {
                return answer;
            }
            state.groups.due_us(group).unwrap_or(now_us)
        };
        // what is due may be due for others too
        let wait = Duration::from_micros(due_us.saturating_sub(now_us).max(1_000));
        if tokio::time::timeout(wait, changed).await.is_err() {
            cluster.regrouped().notify_waiters();
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A copy that does not keep a whole frame alive.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(super) async fn join(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: JoinGroupRequest = body(head, &mut frame)?;
    let group = request.group_id.as_str();
    let rebalance_ms = match request.rebalance_timeout_ms {
        given if head.version >= 1 && given > 0 => given,
        _ => request.session_timeout_ms,
    };
    let said = request.protocols.iter().map(|p| (p.name.to_string(), own(&p.metadata)));
    let wish = Join {
        client: head.client.clone(),
        member: request.member_id.to_string(),
        session_ms: request.session_timeout_ms,
        rebalance_ms,
        protocol_type: request.protocol_type.to_string(),
        protocols: said.collect(),
        id_first: head.version >= 4,
    };
    let (asked, taken) = {
        let mut state = cluster.state();
        let asked = Asked::of(&mut state, from, head, group);
        let now_us = cluster.recorder().now_us();
        let refused = asked.refused.map_err(NotTaken::from);
        (asked, refused.and_then(|()| state.groups.join(group, &wish, now_us)))
    };
    cluster.regrouped().notify_waiters();
    let (answered, member) = match taken {
        Ok(ticket) => {
            let ask = |groups: &mut Groups, now| groups.joined(group, &ticket, now);
            (until(cluster, group, ask).await, ticket.member)
        }
        Err(NotTaken { code, member }) if member.is_empty() => (Err(code), wish.member),
        Err(NotTaken { code, member }) => (Err(code), member),
    };
    let code = answered.as_ref().err().copied().unwrap_or(codes::NONE);
    let answer = match answered {
        Ok(Joined { generation, protocol, leader, members }) => {
            let member = |(id, said): (String, Bytes)| {
                let member = JoinGroupResponseMember::default().with_member_id(text(&id));
                member.with_metadata(said)
            };
            JoinGroupResponse::default()
                .with_generation_id(generation)
                .with_protocol_name(Some(text(&protocol)))
                .with_leader(text(&leader))
                .with_members(members.into_iter().map(member).collect())
        }
        Err(_) => JoinGroupResponse::default()
            .with_generation_id(-1)
            .with_protocol_name(Some(StrBytes::default())),
    };
    let answer = answer.with_error_code(code).with_member_id(text(&member));
    Ok(asked.reply(head.answer(&answer, code)?))
}

pub(super) async fn sync(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: SyncGroupRequest = body(head, &mut frame)?;
    let (group, member) = (request.group_id.as_str(), request.member_id.as_str());
    let who = (member, request.generation_id);
    let given = request.assignments.iter().map(|a| (a.member_id.to_string(), own(&a.assignment)));
    let (asked, taken) = {
        let mut state = cluster.state();
        let asked = Asked::of(&mut state, from, head, group);
        let now_us = cluster.recorder().now_us();
        let sync = |()| state.groups.sync(group, who, given.collect(), now_us);
        let taken = asked.refused.and_then(sync);
        (asked, taken)
    };
    cluster.regrouped().notify_waiters();
    let ask = |groups: &mut Groups, now| groups.assigned(group, who, now);
    let assigned = match taken {
        Ok(()) => until(cluster, group, ask).await,
        Err(code) => Err(code),
    };
    let code = assigned.as_ref().err().copied().unwrap_or(codes::NONE);
    let answer = SyncGroupResponse::default().with_error_code(code);
    let answer = answer.with_assignment(assigned.unwrap_or_default());
    Ok(asked.reply(head.answer(&answer, code)?))
}

pub(super) fn heartbeat(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: HeartbeatRequest = body(head, &mut frame)?;
    let group = request.group_id.as_str();
    let now_us = cluster.recorder().now_us();
    let mut state = cluster.state();
    let asked = Asked::of(&mut state, from, head, group);
    let (member, generation) = (request.member_id.as_str(), request.generation_id);
    let beat = |()| state.groups.heartbeat(group, member, generation, now_us);
    let code = asked.refused.and_then(beat).err().unwrap_or(codes::NONE);
    drop(state);
    cluster.regrouped().notify_waiters();
    let answer = HeartbeatResponse::default().with_error_code(code);
    Ok(asked.reply(head.answer(&answer, code)?))
}

pub(super) fn leave(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: LeaveGroupRequest = body(head, &mut frame)?;
    let group = request.group_id.as_str();
    let now_us = cluster.recorder().now_us();
    let mut state = cluster.state();
    let asked = Asked::of(&mut state, from, head, group);
    let leave = |()| state.groups.leave(group, &request.member_id, now_us);
    let code = asked.refused.and_then(leave).err().unwrap_or(codes::NONE);
    drop(state);
    cluster.regrouped().notify_waiters();
    let answer = LeaveGroupResponse::default().with_error_code(code);
    Ok(asked.reply(head.answer(&answer, code)?))
}
