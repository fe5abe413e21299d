//! Consumer groups as a coordinator keeps them: the classic protocol, without static members.
//!
//! A machine without input and output: every question comes with the time, and what is due by then
//! (sessions, rebalances) is done first. Whoever waits for an answer asks again at
//! [`Groups::due_us`], or when the groups have changed.

mod join;
mod offsets;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::codes;
pub(crate) use join::{Join, Joined, NotTaken, Ticket};
pub(crate) use offsets::Committed;

/// Kafka's `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
const SESSION_MS: std::ops::RangeInclusive<i32> = 6_000..=1_800_000;
/// Groups, and members of all groups together, that are kept.
const MOST: usize = 1_000;
/// Bytes that a member may say about itself, and bytes that it may be assigned.
const MAX_SAID: usize = 64 << 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No members.
    #[default]
    Empty,
    /// Members join the next generation until then.
    Joining(u64),
    /// The leader assigns until then.
    Assigning(u64),
    Stable,
}

#[derive(Clone, Debug)]
struct Member {
    id: String,
    session_us: u64,
    rebalance_us: u64,
    protocols: Vec<(String, Bytes)>,
    /// The newest of its joins.
    ticket: u64,
    /// That join waits for the next generation.
    joining: bool,
    /// It waits for its assignment, or has it.
    synced: bool,
    expires_us: u64,
    assignment: Bytes,
}

impl Member {
    fn heard(&mut self, now_us: u64) {
        self.expires_us = now_us + self.session_us;
    }

    fn said(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, said)| said)
    }
}

#[derive(Clone, Debug, Default)]
struct Group {
    phase: Phase,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    /// In the order in which they came.
    members: Vec<Member>,
    /// Ids that were given out and have not joined, with the time at which they are forgotten.
    pending: BTreeMap<String, u64>,
    /// Each with the number of its commit.
    offsets: BTreeMap<(String, i32), (u64, Committed)>,
}

impl Group {
    fn member(&mut self, id: &str) -> Result<&mut Member, i16> {
        self.members.iter_mut().find(|m| m.id == id).ok_or(codes::UNKNOWN_MEMBER_ID)
    }

    /// A member of this generation.
    fn of(&mut self, id: &str, generation: i32) -> Result<&mut Member, i16> {
        let current = self.generation;
        let member = self.member(id)?;
        if generation == current { Ok(member) } else { Err(codes::ILLEGAL_GENERATION) }
    }

    fn is_dead(&self) -> bool {
        self.is_idle() && self.offsets.is_empty()
    }

    /// Nobody is in it, or on the way into it.
    fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// When something is due next.
    fn due_us(&self) -> Option<u64> {
        let phase = match self.phase {
            Phase::Joining(until) | Phase::Assigning(until) => Some(until),
            Phase::Empty | Phase::Stable => None,
        };
        let sessions = self.members.iter().filter(|m| self.is_awaited(m)).map(|m| m.expires_us);
        phase.into_iter().chain(sessions).chain(self.pending.values().copied()).min()
    }

    /// True for a member that must be heard of: none waits for an answer to it.
    fn is_awaited(&self, member: &Member) -> bool {
        let waits = matches!(self.phase, Phase::Assigning(_)) && member.synced;
        !member.joining && !waits
    }

    /// Does what is due.
    fn expire(&mut self, now_us: u64) {
        self.pending.retain(|_, until| *until > now_us);
        let silent = |group: &Self, m: &Member| group.is_awaited(m) && m.expires_us <= now_us;
        let gone: Vec<String> =
            self.members.iter().filter(|m| silent(self, m)).map(|m| m.id.clone()).collect();
        for id in gone {
            self.remove(&id, now_us);
        }
        match self.phase {
            Phase::Joining(until) if until <= now_us => self.begin_generation(now_us),
            Phase::Assigning(until) if until <= now_us => {
                self.members.retain(|m| m.synced);
                self.rebalance(now_us);
            }
            _ => self.begin_if_complete(now_us),
        }
    }

    /// Members have to join again.
    fn rebalance(&mut self, now_us: u64) {
        if matches!(self.phase, Phase::Assigning(_)) {
            // They are told now, and heard of again from now on.
            self.members.iter_mut().filter(|m| m.synced).for_each(|m| m.heard(now_us));
        }
        let longest = self.members.iter().map(|m| m.rebalance_us).max().unwrap_or(0);
        self.phase = Phase::Joining(now_us + longest);
        self.begin_if_complete(now_us);
    }

    fn begin_if_complete(&mut self, now_us: u64) {
        let all = self.pending.is_empty() && self.members.iter().all(|m| m.joining);
        if all && matches!(self.phase, Phase::Joining(_)) {
            self.begin_generation(now_us);
        }
    }

    /// Those who have joined are the next generation.
    fn begin_generation(&mut self, now_us: u64) {
        self.members.retain(|m| m.joining);
        self.generation += 1;
        if self.members.is_empty() {
            (self.phase, self.leader, self.protocol) = <_>::default();
            return;
        }
        self.protocol = self.elected();
        if self.members.iter().all(|m| m.id != self.leader) {
            self.leader = self.members.first().map(|m| m.id.clone()).unwrap_or_default();
        }
        let mut longest = 0;
        for member in &mut self.members {
            (member.joining, member.synced) = (false, false);
            member.assignment = Bytes::new();
            member.heard(now_us);
            longest = longest.max(member.rebalance_us);
        }
        self.phase = Phase::Assigning(now_us + longest);
    }

    /// The protocol that all know and most prefer, the first of them in the order of the names.
    fn elected(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in &self.members {
            let mut known = member.protocols.iter().map(|(name, _)| name.as_str());
            let choice = known.find(|name| self.members.iter().all(|m| m.said(name).is_some()));
            if let Some(choice) = choice {
                *votes.entry(choice).or_default() += 1;
            }
        }
        let best = votes.iter().rev().max_by_key(|(_, count)| **count);
        best.map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }

    /// Lets a member go; false when it is none.
    fn remove(&mut self, id: &str, now_us: u64) -> bool {
        if self.pending.remove(id).is_some() {
            self.begin_if_complete(now_us);
            return true;
        }
        let before = self.members.len();
        self.members.retain(|m| m.id != id);
        if self.members.len() == before {
            return false;
        }
        match self.phase {
            Phase::Joining(_) => self.begin_if_complete(now_us),
            Phase::Stable | Phase::Assigning(_) => self.rebalance(now_us),
            Phase::Empty => {}
        }
        true
    }

    /// True when this member and the others know a common protocol.
    fn fits(&self, join: &Join) -> bool {
        let others = || self.members.iter().filter(|m| m.id != join.member);
        let known = |name: &str| others().all(|m| m.said(name).is_some());
        let any = join.protocols.iter().any(|(name, _)| known(name));
        any && (others().next().is_none() || self.protocol_type == join.protocol_type)
    }

    /// Takes in a member that was told its id, or needs none.
    fn enter(&mut self, id: &str, number: u64, join: &Join, now_us: u64) {
        let ms = |ms: i32| u64::from(ms.unsigned_abs()) * 1_000;
        let (session_us, rebalance_us) = (ms(join.session_ms), ms(join.rebalance_ms));
        self.pending.remove(id);
        self.protocol_type.clone_from(&join.protocol_type);
        self.members.push(Member {
            id: id.to_owned(),
            session_us,
            rebalance_us,
            protocols: join.protocols.clone(),
            ticket: number,
            joining: true,
            synced: false,
            expires_us: now_us + session_us,
            assignment: Bytes::new(),
        });
        match self.phase {
            Phase::Joining(_) => self.begin_if_complete(now_us),
            _ => self.rebalance(now_us),
        }
    }

    /// A member joins again.
    fn rejoin(&mut self, number: u64, join: &Join, now_us: u64) -> Result<(), i16> {
        let (phase, leads) = (self.phase, self.leader == join.member);
        let member = self.member(&join.member)?;
        let same = member.protocols == join.protocols;
        member.ticket = number;
        member.protocols.clone_from(&join.protocols);
        member.heard(now_us);
        match phase {
            Phase::Joining(_) => {
                member.joining = true;
                self.begin_if_complete(now_us);
            }
            // The answer to its join was lost: it is told again.
            Phase::Assigning(_) if same => {}
            Phase::Stable if same && !leads => {}
            _ => {
                member.joining = true;
                self.rebalance(now_us);
            }
        }
        Ok(())
    }
}

/// All groups of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    by_name: BTreeMap<String, Group>,
    /// Counts ids, joins and commits.
    next: u64,
    /// Where the offsets of all groups are, by the number of their commit.
    commits: BTreeMap<u64, (String, (String, i32))>,
}

impl Groups {
    /// When something in this group is due next.
    pub(crate) fn due_us(&self, group: &str) -> Option<u64> {
        self.by_name.get(group)?.due_us()
    }

    /// The group, with everything done that is due.
    fn group(&mut self, group: &str, now_us: u64) -> Option<&mut Group> {
        self.by_name.get_mut(group)?.expire(now_us);
        if self.by_name.get(group).is_some_and(Group::is_dead) {
            self.by_name.remove(group);
        }
        self.by_name.get_mut(group)
    }

    /// As [`Groups::group`]; creates it.
    fn group_or_new(&mut self, group: &str, now_us: u64) -> Result<&mut Group, i16> {
        if group.is_empty() {
            return Err(codes::INVALID_GROUP_ID);
        }
        let known = self.group(group, now_us).is_some();
        if !known && self.by_name.len() >= MOST {
            self.by_name.retain(|_, group| {
                group.expire(now_us);
                !group.is_dead()
            });
            // offsets of those who are gone make room for who comes
            if self.by_name.len() >= MOST && !self.forget_oldest() {
                return Err(codes::COORDINATOR_NOT_AVAILABLE);
            }
        }
        Ok(self.by_name.entry(group.to_owned()).or_default())
    }

    /// Takes a join; the answer comes from [`Groups::joined`].
    ///
    /// # Errors
    /// Why it is not taken.
    pub(crate) fn join(
        &mut self,
        group: &str,
        join: &Join,
        now_us: u64,
    ) -> Result<Ticket, NotTaken> {
        if !SESSION_MS.contains(&join.session_ms) {
            return Err(codes::INVALID_SESSION_TIMEOUT.into());
        }
        let said: usize = join.protocols.iter().map(|(name, said)| name.len() + said.len()).sum();
        if said + join.protocol_type.len() > MAX_SAID {
            return Err(codes::UNKNOWN_SERVER_ERROR.into());
        }
        let kept = |group: &Group| group.members.len() + group.pending.len();
        let mut full = self.by_name.values().map(kept).sum::<usize>() >= MOST;
        if full {
            // whose time is up in a group that nobody asks for takes no room
            self.by_name.values_mut().for_each(|group| group.expire(now_us));
            full = self.by_name.values().map(kept).sum::<usize>() >= MOST;
        }
        let number = self.next;
        self.next += 1;
        let found = if join.member.is_empty() {
            self.group_or_new(group, now_us)?
        } else {
            self.group(group, now_us).ok_or(codes::UNKNOWN_MEMBER_ID)?
        };
        if join.protocol_type.is_empty() || !found.fits(join) {
            return Err(codes::INCONSISTENT_GROUP_PROTOCOL.into());
        }
        if join.member.is_empty() {
            if full {
                return Err(codes::GROUP_MAX_SIZE_REACHED.into());
            }
            let member = format!("{}-{number}", join.client);
            if join.id_first {
                let session_us = u64::from(join.session_ms.unsigned_abs()) * 1_000;
                found.pending.insert(member.clone(), now_us + session_us);
                return Err(NotTaken { code: codes::MEMBER_ID_REQUIRED, member });
            }
            found.enter(&member, number, join, now_us);
            return Ok(Ticket { member, number });
        }
        if found.pending.contains_key(&join.member) {
            found.enter(&join.member, number, join, now_us);
        } else {
            found.rejoin(number, join, now_us)?;
        }
        Ok(Ticket { member: join.member.clone(), number })
    }

    /// The answer to a join; `None` while it has to wait.
    pub(crate) fn joined(
        &mut self,
        group: &str,
        ticket: &Ticket,
        now_us: u64,
    ) -> Option<Result<Joined, i16>> {
        let Some(group) = self.group(group, now_us) else {
            return Some(Err(codes::UNKNOWN_MEMBER_ID));
        };
        let member = match group.member(&ticket.member) {
            Ok(member) => member,
            Err(code) => return Some(Err(code)),
        };
        if member.ticket != ticket.number {
            // It has asked again since, and is answered there.
            return Some(Err(codes::REBALANCE_IN_PROGRESS));
        }
        if member.joining {
            return None;
        }
        let leads = group.leader == ticket.member;
        let said = |m: &Member| m.said(&group.protocol).cloned().unwrap_or_default();
        let all = group.members.iter().map(|m| (m.id.clone(), said(m)));
        Some(Ok(Joined {
            generation: group.generation,
            protocol: group.protocol.clone(),
            leader: group.leader.clone(),
            members: if leads { all.collect() } else { Vec::new() },
        }))
    }

    /// Takes a member's wish for its assignment, and the leader's assignments; the answer comes
    /// from [`Groups::assigned`].
    ///
    /// # Errors
    /// The Kafka error code.
    pub(crate) fn sync(
        &mut self,
        group: &str,
        (member, generation): (&str, i32),
        assignments: Vec<(String, Bytes)>,
        now_us: u64,
    ) -> Result<(), i16> {
        let group = self.group(group, now_us).ok_or(codes::UNKNOWN_MEMBER_ID)?;
        let of = group.of(member, generation)?;
        of.heard(now_us);
        of.synced = true;
        if matches!(group.phase, Phase::Assigning(_)) && group.leader == member {
            if assignments.iter().any(|(_, bytes)| bytes.len() > MAX_SAID) {
                group.rebalance(now_us);
                return Err(codes::UNKNOWN_SERVER_ERROR);
            }
            for (id, assignment) in assignments {
                if let Ok(member) = group.member(&id) {
                    member.assignment = assignment;
                }
            }
            group.members.iter_mut().for_each(|m| m.heard(now_us));
            group.phase = Phase::Stable;
        }
        Ok(())
    }

    /// The answer to a wish for an assignment; `None` while it has to wait.
    pub(crate) fn assigned(
        &mut self,
        group: &str,
        (member, generation): (&str, i32),
        now_us: u64,
    ) -> Option<Result<Bytes, i16>> {
        let Some(group) = self.group(group, now_us) else {
            return Some(Err(codes::UNKNOWN_MEMBER_ID));
        };
        let (phase, current) = (group.phase, group.generation);
        match group.member(member) {
            Err(code) => Some(Err(code)),
            Ok(_) if current != generation => Some(Err(codes::REBALANCE_IN_PROGRESS)),
            Ok(member) => match phase {
                Phase::Stable => Some(Ok(member.assignment.clone())),
                Phase::Assigning(_) => None,
                Phase::Joining(_) | Phase::Empty => Some(Err(codes::REBALANCE_IN_PROGRESS)),
            },
        }
    }

    /// A sign of life.
    ///
    /// # Errors
    /// The Kafka error code: `REBALANCE_IN_PROGRESS` says that the member is to join again.
    pub(crate) fn heartbeat(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
        now_us: u64,
    ) -> Result<(), i16> {
        let group = self.group(group, now_us).ok_or(codes::UNKNOWN_MEMBER_ID)?;
        group.of(member, generation)?.heard(now_us);
        match group.phase {
            Phase::Joining(_) => Err(codes::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }

    /// A member leaves.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`.
    pub(crate) fn leave(&mut self, group: &str, member: &str, now_us: u64) -> Result<(), i16> {
        let found = self.group(group, now_us).ok_or(codes::UNKNOWN_MEMBER_ID)?;
        if found.remove(member, now_us) { Ok(()) } else { Err(codes::UNKNOWN_MEMBER_ID) }
    }
}
