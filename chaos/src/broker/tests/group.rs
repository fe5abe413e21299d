use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};

use crate::broker::client::Client;
use crate::broker::tests::kit::*;
use crate::broker::{Cluster, codes};
use crate::fault::FaultPlan;
use crate::scenario::model::{At, Brokers, Fault, FaultKind, Scenario};

const GROUP: &str = "readers";
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 30_000;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group() -> GroupId {
    GroupId(text(GROUP))
}

fn coordinator(cluster: &Cluster) -> i32 {
    cluster.state().coordinator(GROUP).unwrap()
}

/// A member and its connection to the coordinator.
struct Member {
    client: Client<DuplexStream>,
    id: StrBytes,
    generation: i32,
}

impl Member {
    fn new(cluster: &Arc<Cluster>) -> Self {
        let client = connect(cluster, coordinator(cluster));
        Self { client, id: StrBytes::default(), generation: -1 }
    }

    fn wish(&self) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(b"says"));
        JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(SESSION_MS)
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_member_id(self.id.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }

    async fn ask(&mut self, wish: &JoinGroupRequest) -> JoinGroupResponse {
        self.client.call(4, wish).await.unwrap()
    }

    /// Joins, under the id that it is told first.
    async fn join(&mut self) -> JoinGroupResponse {
        let mut answer = self.ask(&self.wish()).await;
        if answer.error_code == codes::MEMBER_ID_REQUIRED {
            self.id = answer.member_id;
            answer = self.ask(&self.wish()).await;
        }
        self.generation = answer.generation_id;
        answer
    }

    async fn sync(&mut self, given: &[(&StrBytes, &'static [u8])]) -> (i16, Bytes) {
        let give = |(id, assignment): &(&StrBytes, &'static [u8])| {
            let given = SyncGroupRequestAssignment::default().with_member_id((*id).clone());
            given.with_assignment(Bytes::from_static(assignment))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_assignments(given.iter().map(give).collect());
        let answer = self.client.call(2, &request).await.unwrap();
        (answer.error_code, answer.assignment)
    }

    async fn beat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        self.client.call(2, &request).await.unwrap().error_code
    }

    async fn leave(&mut self) -> i16 {
        let request = LeaveGroupRequest::default().with_group_id(group());
        let request = request.with_member_id(self.id.clone());
        self.client.call(2, &request).await.unwrap().error_code
    }

    async fn commit(&mut self, partition: i32, offset: i64, metadata: &str) -> i16 {
        let wanted = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(4)
            .with_committed_metadata(Some(text(metadata)));
        let wanted = OffsetCommitRequestTopic::default()
            .with_name(topic("events"))
            .with_partitions(vec![wanted]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone())
            .with_topics(vec![wanted]);
        let answer = self.client.call(6, &request).await.unwrap();
        answer.topics[0].partitions[0].error_code
    }

    /// Committed offsets of these partitions, or of all that have one.
    async fn committed(&mut self, partitions: Option<&[i32]>) -> Vec<(i32, i64, String)> {
        let wanted = partitions.map(|partitions| {
            let topic = OffsetFetchRequestTopic::default().with_name(topic("events"));
            vec![topic.with_partition_indexes(partitions.to_vec())]
        });
        let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(wanted);
        let answer = self.client.call(7, &request).await.unwrap();
        assert_eq!(answer.error_code, codes::NONE);
        let all = answer.topics.into_iter().flat_map(|t| t.partitions);
        let read = all.map(|p| {
            (p.partition_index, p.committed_offset, p.metadata.unwrap_or_default().to_string())
        });
        read.collect()
    }
}

/// Two members of one generation, the first of them its leader.
async fn pair(cluster: &Arc<Cluster>) -> (Member, Member) {
    let (mut first, mut second) = (Member::new(cluster), Member::new(cluster));
    first.join().await;
    let (mine, none): (StrBytes, &[u8]) = (first.id.clone(), b"all");
    assert_eq!(first.sync(&[(&mine, none)]).await.0, codes::NONE);
    let again = async {
        while first.beat().await != codes::REBALANCE_IN_PROGRESS {
            sleep(Duration::from_millis(100)).await;
        }
        first.join().await
    };
    let (leads, follows) = tokio::join!(again, second.join());
    assert_eq!((leads.members.len(), follows.members.len()), (2, 0));
    assert_eq!((first.generation, second.generation), (2, 2));
    (first, second)
}

#[tokio::test(start_paused = true)]
async fn a_new_member_is_told_its_id_first_and_leads_a_group_of_one() {
    let (cluster, _) = cluster();
    let mut member = Member::new(&cluster);
    let told = member.ask(&member.wish()).await;
    assert_eq!(told.error_code, codes::MEMBER_ID_REQUIRED);
    member.id = told.member_id;
    let joined = member.join().await;
    assert_eq!((joined.error_code, joined.generation_id), (codes::NONE, 1));
    assert_eq!((&joined.leader, &joined.member_id), (&member.id, &member.id));
    assert_eq!(joined.protocol_name, Some(text("range")));
    assert_eq!(joined.members[0].metadata, Bytes::from_static(b"says"));
    let mine = member.id.clone();
    let synced = member.sync(&[(&mine, b"all")]).await;
    assert_eq!(synced, (codes::NONE, Bytes::from_static(b"all")));
    assert_eq!(member.beat().await, codes::NONE);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_before_kip_394_is_a_member_at_once() {
    let (cluster, _) = cluster();
    let mut member = Member::new(&cluster);
    let joined = member.client.call(3, &member.wish()).await.unwrap();
    assert_eq!((joined.error_code, joined.generation_id), (codes::NONE, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_member_makes_the_first_join_again_and_each_gets_its_own_assignment() {
    let (cluster, _) = cluster();
    let (mut first, mut second) = pair(&cluster).await;
    let (one, two) = (first.id.clone(), second.id.clone());
    let given: [(&StrBytes, &[u8]); 2] = [(&one, b"left"), (&two, b"right")];
    let (left, right) = tokio::join!(first.sync(&given), second.sync(&[]));
    assert_eq!(left, (codes::NONE, Bytes::from_static(b"left")));
    assert_eq!(right, (codes::NONE, Bytes::from_static(b"right")));
}

#[tokio::test(start_paused = true)]
async fn a_member_waits_for_the_leaders_assignment() {
    let (cluster, _) = cluster();
    let (mut first, mut second) = pair(&cluster).await;
    let (start, two) = (Instant::now(), second.id.clone());
    let late = async {
        sleep(Duration::from_secs(3)).await;
        first.sync(&[(&two, b"right")]).await
    };
    let (_, right) = tokio::join!(late, second.sync(&[]));
    assert_eq!(right, (codes::NONE, Bytes::from_static(b"right")));
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_falls_silent_is_dropped_after_its_session() {
    let (cluster, _) = cluster();
    let (mut first, mut second) = pair(&cluster).await;
    tokio::join!(first.sync(&[]), second.sync(&[]));
    let start = Instant::now();
    while second.beat().await == codes::NONE {
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(start.elapsed().as_millis() / 1_000, 10);
    let joined = second.join().await;
    assert_eq!((joined.generation_id, &joined.leader), (3, &second.id));
    assert_eq!(first.beat().await, codes::UNKNOWN_MEMBER_ID);
    assert_eq!(first.join().await.error_code, codes::UNKNOWN_MEMBER_ID);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_join_again_is_dropped_when_the_time_to_rebalance_is_over() {
    let (cluster, _) = cluster();
    let (mut first, mut second) = pair(&cluster).await;
    tokio::join!(first.sync(&[]), second.sync(&[]));
    let start = Instant::now();
    let alive = async {
        while first.beat().await != codes::UNKNOWN_MEMBER_ID {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let mut third = Member::new(&cluster);
    let both = async { tokio::join!(third.join(), second.join()) };
    let ((), (joined, _)) = tokio::join!(alive, both);
    assert_eq!((joined.error_code, joined.generation_id), (codes::NONE, 3));
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_never_assigns_is_dropped_and_the_rest_joins_again() {
    let (cluster, _) = cluster();
    let (mut first, mut second) = pair(&cluster).await;
    let alive = async {
        while first.beat().await == codes::NONE {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let ((), synced) = tokio::join!(alive, second.sync(&[]));
    assert_eq!(synced.0, codes::REBALANCE_IN_PROGRESS);
    assert_eq!(second.join().await.leader, second.id);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_makes_the_others_join_again() {
    let (cluster, _) = cluster();
    let (mut first, mut second) = pair(&cluster).await;
    tokio::join!(first.sync(&[]), second.sync(&[]));
    assert_eq!(first.leave().await, codes::NONE);
    assert_eq!(first.leave().await, codes::UNKNOWN_MEMBER_ID);
    assert_eq!(second.beat().await, codes::REBALANCE_IN_PROGRESS);
    assert_eq!(second.join().await.leader, second.id);
}

#[tokio::test(start_paused = true)]
async fn strangers_and_members_of_other_generations_are_told_so() {
    let (cluster, _) = cluster();
    let mut member = Member::new(&cluster);
    assert_eq!(member.beat().await, codes::UNKNOWN_MEMBER_ID);
    assert_eq!(member.sync(&[]).await.0, codes::UNKNOWN_MEMBER_ID);
    member.join().await;
    member.sync(&[]).await;
    member.generation = 7;
    assert_eq!(member.beat().await, codes::ILLEGAL_GENERATION);
    assert_eq!(member.sync(&[]).await.0, codes::ILLEGAL_GENERATION);
    assert_eq!(member.commit(0, 1, "").await, codes::ILLEGAL_GENERATION);
    member.id = text("stranger");
    assert_eq!(member.join().await.error_code, codes::UNKNOWN_MEMBER_ID);
    assert_eq!(member.commit(0, 1, "").await, codes::UNKNOWN_MEMBER_ID);
}

#[tokio::test(start_paused = true)]
async fn a_join_that_makes_no_sense_is_refused() {
    let (cluster, _) = cluster();
    let mut member = Member::new(&cluster);
    member.join().await;
    let mut other = Member::new(&cluster);
    let wish = other.wish();
    let protocol = JoinGroupRequestProtocol::default().with_name(text("sticky"));
    let large = protocol.clone().with_metadata(Bytes::from(vec![0; 65_536]));
    let wishes = [
        (wish.clone().with_group_id(GroupId::default()), codes::INVALID_GROUP_ID),
        (wish.clone().with_session_timeout_ms(5_999), codes::INVALID_SESSION_TIMEOUT),
        (wish.clone().with_session_timeout_ms(-1), codes::INVALID_SESSION_TIMEOUT),
        (wish.clone().with_protocols(vec![protocol]), codes::INCONSISTENT_GROUP_PROTOCOL),
        (wish.clone().with_protocol_type(text("connect")), codes::INCONSISTENT_GROUP_PROTOCOL),
        (wish.with_protocols(vec![large]), codes::UNKNOWN_SERVER_ERROR),
    ];
    for (wish, code) in wishes {
        assert_eq!(other.ask(&wish).await.error_code, code);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_there_for_whoever_comes_next() {
    let (cluster, _) = cluster();
    let mut member = Member::new(&cluster);
    member.join().await;
    assert_eq!(member.commit(1, 40, "").await, codes::REBALANCE_IN_PROGRESS);
    member.sync(&[]).await;
    assert_eq!(member.commit(1, 41, "so far").await, codes::NONE);
    assert_eq!(member.commit(9, 41, "").await, codes::UNKNOWN_TOPIC_OR_PARTITION);
    let long = "x".repeat(4_097);
    assert_eq!(member.commit(1, 42, &long).await, codes::OFFSET_METADATA_TOO_LARGE);
    member.leave().await;
    let mut next = Member::new(&cluster);
    let read = next.committed(Some(&[0, 1])).await;
    assert_eq!(read, [(0, -1, String::new()), (1, 41, "so far".to_owned())]);
    assert_eq!(next.committed(None).await, [(1, 41, "so far".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_group_may_commit_while_the_group_has_no_members() {
    let (cluster, _) = cluster();
    let (mut alone, mut member) = (Member::new(&cluster), Member::new(&cluster));
    assert_eq!(alone.commit(0, 5, "").await, codes::NONE);
    member.join().await;
    assert_eq!(alone.commit(0, 6, "").await, codes::UNKNOWN_MEMBER_ID);
    assert_eq!(alone.committed(Some(&[0])).await[0].1, 5);
}

#[tokio::test(start_paused = true)]
async fn only_the_coordinator_answers_and_it_moves_when_its_broker_is_down() {
    let (cluster, _) = cluster();
    let of = coordinator(&cluster);
    let other = of % 3 + 1;
    let fault = FaultKind::BrokerDown { brokers: Brokers::Ids(vec![of]) };
    let fault = Fault::new(At::Time(Duration::ZERO), None, fault);
    let scenario = Scenario { faults: vec![fault], ..Scenario::default() };
    let plan = FaultPlan::new(&scenario, Arc::clone(&cluster));
    let mut lost = Member { client: connect(&cluster, other), ..Member::new(&cluster) };
    assert_eq!(lost.beat().await, codes::NOT_COORDINATOR);
    let find = FindCoordinatorRequest::default().with_key(text(GROUP));
    assert_eq!(*lost.client.call(2, &find).await.unwrap().node_id, of);
    plan.begin(0);
    assert_eq!(*lost.client.call(2, &find).await.unwrap().node_id, other);
    assert_eq!(lost.join().await.error_code, codes::NONE);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_script_is_answered_without_touching_the_group() {
    let (cluster, _) = cluster();
    let fault = FaultKind::RequestError {
        api: "JoinGroup".to_owned(),
        code: codes::COORDINATOR_NOT_AVAILABLE,
        count: Some(1),
        topic: crate::scenario::model::TopicSel::Both,
        after_append: false,
    };
    let fault = Fault::new(At::Time(Duration::ZERO), None, fault);
    let scenario = Scenario { faults: vec![fault], ..Scenario::default() };
    FaultPlan::new(&scenario, Arc::clone(&cluster)).begin(0);
    let mut member = Member::new(&cluster);
    assert_eq!(member.join().await.error_code, codes::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(member.join().await.generation_id, 1);
}
