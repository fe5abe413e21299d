//! Any order of joins, syncs, beats, leaves and silences: the coordinator keeps its word.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::broker::codes;
use crate::broker::group::{Committed, Groups, Join, Joined, NotTaken, Ticket};

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Sync(usize),
    Beat(usize),
    Leave(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..4_usize;
    prop_oneof![
        3 => who.clone().prop_map(Step::Join),
        3 => who.clone().prop_map(Step::Sync),
        3 => who.clone().prop_map(Step::Beat),
        1 => who.prop_map(Step::Leave),
        2 => (0..8_000_000_u64).prop_map(Step::Wait),
    ]
}

#[derive(Default)]
struct Client {
    id: String,
    ticket: Option<Ticket>,
    generation: i32,
}

fn wish(member: &str) -> Join {
    Join {
        client: "any".to_owned(),
        member: member.to_owned(),
        session_ms: 6_000,
        rebalance_ms: 9_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::new())],
        id_first: true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn generations_only_rise_and_each_has_one_leader_who_knows_all(steps in vec(step(), 1..80)) {
        let (mut groups, mut now, mut newest) = (Groups::default(), 0, 0);
        // a group that has committed is never forgotten, and so its generations go on
        groups.may_commit("g", "", -1, now).unwrap();
        let committed = Committed { offset: 0, epoch: 0, metadata: String::new() };
        groups.commit("g", ("events", 0), committed).unwrap();
        let mut clients: [Client; 4] = <_>::default();
        let mut leaders = std::collections::BTreeMap::new();
        for step in steps {
            match step {
                Step::Join(n) => {
                    let client = &mut clients[n];
                    match groups.join("g", &wish(&client.id), now) {
                        Ok(ticket) => client.ticket = Some(ticket),
                        Err(NotTaken { member, .. }) => client.id = member,
                    }
                }
                Step::Sync(n) => {
                    let Client { id, generation, .. } = &clients[n];
                    let _ = groups.sync("g", (id, *generation), Vec::new(), now);
                    let _ = groups.assigned("g", (id, *generation), now);
                }
                Step::Beat(n) => {
                    let Client { id, generation, .. } = &clients[n];
                    let _ = groups.heartbeat("g", id, *generation, now);
                }
                Step::Leave(n) => {
                    let _ = groups.leave("g", &clients[n].id, now);
                }
                Step::Wait(us) => now += us,
            }
            for client in &mut clients {
                let Some(ticket) = client.ticket.clone() else { continue };
                match groups.joined("g", &ticket, now) {
                    // somebody waits: there is a time at which it is answered
                    None => prop_assert!(groups.due_us("g").is_some_and(|due| due > now)),
                    Some(Err(_)) => client.ticket = None,
                    Some(Ok(Joined { generation, leader, members, .. })) => {
                        client.ticket = None;
                        client.generation = generation;
                        prop_assert!(generation >= newest);
                        newest = generation;
                        let of = leaders.entry(generation).or_insert_with(|| leader.clone());
                        prop_assert_eq!(&leader, of);
                        let leads = leader == ticket.member;
                        prop_assert_eq!(leads, members.iter().any(|(id, _)| *id == ticket.member));
                    }
                }
            }
        }
        // left alone, a group forgets everybody
        now += 60_000_000;
        for client in clients.iter().filter(|client| !client.id.is_empty()) {
            for _ in 0..4 {
                let _ = groups.heartbeat("g", &client.id, client.generation, now);
                now += 60_000_000;
            }
            prop_assert!(groups.heartbeat("g", &client.id, client.generation, now).is_err());
        }
    }
}

/// Commits for the partition 0 of a topic, by nobody in particular.
fn commit(groups: &mut Groups, group: &str, topic: &str, offset: i64) -> Result<(), i16> {
    groups.may_commit(group, "", -1, 0)?;
    groups.commit(group, (topic, 0), Committed { offset, epoch: 0, metadata: String::new() })
}

#[test]
fn groups_that_only_committed_make_room_for_new_ones_the_oldest_first() {
    let mut groups = Groups::default();
    for n in 0..1_000 {
        commit(&mut groups, &format!("g{n}"), "events", n).unwrap();
    }
    // the first is no longer the oldest
    commit(&mut groups, "g0", "events", 7).unwrap();
    commit(&mut groups, "new", "events", 8).unwrap();
    let offset = |group| groups.committed(group, "events", 0).map(|found| found.offset);
    assert_eq!(
        (offset("g0"), offset("g1"), offset("g2"), offset("new")),
        (Some(7), None, Some(2), Some(8))
    );
}

#[test]
fn a_group_with_a_member_makes_no_room() {
    let mut groups = Groups::default();
    for n in 0..1_000 {
        let name = format!("g{n}");
        let join = Join { id_first: false, ..wish("") };
        groups.join(&name, &join, 0).unwrap();
        commit(&mut groups, &name, "events", n).unwrap_err();
    }
    assert_eq!(commit(&mut groups, "new", "events", 0), Err(codes::COORDINATOR_NOT_AVAILABLE));
}

#[test]
fn offsets_are_bounded_and_what_was_committed_first_is_forgotten() {
    let mut groups = Groups::default();
    for n in 0..10_001 {
        commit(&mut groups, "g", &format!("t{n}"), n).unwrap();
    }
    let offset = |topic| groups.committed("g", topic, 0).map(|found| found.offset);
    assert_eq!((offset("t0"), offset("t1"), offset("t10000")), (None, Some(1), Some(10_000)));
    let kept: usize = groups.partitions("g").iter().map(|(_, all)| all.len()).sum();
    assert_eq!(kept, 10_000);
}
