//! The tasks of a client: one for deadlines, one for metadata and producer ids, one per broker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kafka_protocol::messages::{MetadataRequest, ProduceRequest};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::answers::TopicView;
use super::state::{BACKOFF, Identity, Next, backoff};
use super::wire::{self, Connection};
use super::{Dial, Shared, codes};

/// Runs a client until it is aborted.
pub(super) async fn supervise<D: Dial>(shared: Arc<Shared>, dial: Arc<D>) {
    let connections = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    tasks.spawn(control(shared.clone(), dial.clone()));
    let mut served = Vec::new();
    loop {
        let next = {
            let mut state = shared.lock();
            let before = state.drain_until;
            let next = state.expire(Instant::now());
            let fresh: Vec<i32> =
                state.brokers.keys().copied().filter(|id| !served.contains(id)).collect();
            for id in fresh {
                served.push(id);
                tasks.spawn(broker(shared.clone(), dial.clone(), id, connections.clone()));
            }
            if before != state.drain_until || !state.suspects.is_empty() {
                shared.work.notify_waiters();
                shared.control.notify_one();
            }
            next
        };
        tokio::select! {
            biased;
            () = shared.timer.notified() => {}
            () = sleep_until_some(next) => {}
        }
    }
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Asks for metadata and producer ids whenever they are wanted, never more often than the backoff.
async fn control<D: Dial>(shared: Arc<Shared>, dial: Arc<D>) {
    let (mut failures, mut rotation) = (0, 0_usize);
    loop {
        while !shared.lock().wants_control() {
            shared.control.notified().await;
        }
        let done = ask(&shared, dial.as_ref(), rotation).await;
        shared.wake_all();
        let satisfied = done.is_ok() && !shared.lock().wants_metadata();
        failures = if satisfied { 0 } else { failures + 1 };
        if done.is_err() {
            rotation += 1;
        }
        let pause = {
            let mut state = shared.lock();
            backoff(failures.max(1) - 1, &mut state.rng)
        };
        sleep(pause).await;
    }
}

/// One round on a connection of its own.
async fn ask<D: Dial>(shared: &Shared, dial: &D, rotation: usize) -> io::Result<()> {
    let (address, limit, within, topic) = {
        let state = shared.lock();
        let config = state.config.clone();
        let mut known = config.bootstrap.clone();
        known.extend(state.brokers.values().filter(|b| !config.bootstrap.contains(b)).cloned());
        let address = known.get(rotation % known.len().max(1)).cloned();
        (address, config.connect_timeout, config.attempt_timeout, config.topic.clone())
    };
    let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut connection = Connection::open(dial, &address, limit).await?;
    let within = within.min(limit);
    if shared.lock().wants_metadata() {
        let version = connection.versions.metadata;
        let request = wire::metadata_request(&topic);
        let answer = connection.call::<MetadataRequest>(version, &request, within).await?;
        let mut state = shared.lock();
        state.metadata_stale = false;
        for broker in &answer.brokers {
            let port = u16::try_from(broker.port).unwrap_or(0);
            state.brokers.insert(broker.node_id.0, (broker.host.to_string(), port));
        }
        let view = answer.topics.first().map(|found| TopicView {
            error: found.error_code,
            leaders: found.partitions.iter().filter_map(led).collect(),
        });
        state.learned(&view.unwrap_or(TopicView { error: 3, leaders: Vec::new() }));
        drop(state);
        shared.wake_all();
    }
    let identity = shared.lock().identity;
    if let Identity::Wanted { prior } = identity {
        identify(shared, &mut connection, prior, within).await?;
    }
    Ok(())
}

fn led(
    partition: &kafka_protocol::messages::metadata_response::MetadataResponsePartition,
) -> Option<(usize, Option<i32>)> {
    let index = usize::try_from(partition.partition_index).ok()?;
    let leader = partition.leader_id.0;
    Some((index, (leader >= 0).then_some(leader)))
}

async fn identify<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    shared: &Shared,
    connection: &mut Connection<S>,
    prior: Option<(i64, i16)>,
    within: Duration,
) -> io::Result<()> {
    let version = connection.versions.init_producer_id;
    let answer = connection.call(version, &wire::init_producer_id(prior, version), within).await?;
    let mut state = shared.lock();
    match i32::from(answer.error_code) {
        0 => state.identified(answer.producer_id.0, answer.producer_epoch),
        code if codes::identity_is_void(code) => state.identity = Identity::Wanted { prior: None },
        code if codes::identity_is_denied(code) => {
            let reason = codes::failure(&state.config, code).reason;
            state.fail_for_good(&reason);
        }
        code => {
            return Err(io::Error::other(codes::failure(&state.config, code).reason.to_string()));
        }
    }
    Ok(())
}

/// Keeps a connection to one broker while there is work for it, with a pause after each loss.
async fn broker<D: Dial>(shared: Arc<Shared>, dial: Arc<D>, id: i32, connections: Arc<AtomicU64>) {
    let mut failures = 0;
    loop {
        let (address, limit) = wait_for_work(&shared, id).await;
        if let Ok(connection) = Connection::open(dial.as_ref(), &address, limit).await {
            let number = connections.fetch_add(1, Ordering::Relaxed);
            let answered = serve(&shared, id, number, connection).await;
            failures = if answered { 0 } else { failures + 1 };
            shared.lock().lost(number, Instant::now());
        } else {
            failures += 1;
            shared.lock().metadata_stale = true;
        }
        shared.wake_all();
        let pause = {
            let mut state = shared.lock();
            backoff(u32::max(failures, 1) - 1, &mut state.rng)
        };
        sleep(pause.max(BACKOFF.0)).await;
    }
}

async fn wait_for_work(shared: &Shared, id: i32) -> ((String, u16), Duration) {
    loop {
        let woken = shared.work.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        {
            let mut state = shared.lock();
            state.suspects.remove(&id);
            if state.wants(id)
                && let Some(address) = state.brokers.get(&id)
            {
                return (address.clone(), state.config.connect_timeout);
            }
        }
        woken.await;
    }
}

/// Serves a connection until it fails; true when it had answered at least once.
async fn serve<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    shared: &Shared,
    id: i32,
    number: u64,
    mut connection: Connection<S>,
) -> bool {
    let mut outstanding: Vec<(i32, i32)> = Vec::new();
    let mut answered = false;
    loop {
        let woken = shared.work.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        if shared.lock().suspects.remove(&id) {
            return answered;
        }
        let Ok(wait) = write_all(shared, id, number, &mut connection, &mut outstanding).await
        else {
            return answered;
        };
        tokio::select! {
            biased;
            frame = connection.read_frame() => {
                let Ok((correlation, body)) = frame else { return answered };
                let found = outstanding.iter().position(|(sent, _)| *sent == correlation);
                let Some(found) = found else { return answered };
                let (_, partition) = outstanding.swap_remove(found);
                let version = connection.versions.produce;
                let Ok(result) = produced(version, body) else { return answered };
                answered = true;
                let key = (partition, number, correlation);
                shared.lock().answered(key, result, Instant::now());
                shared.wake_all();
            }
            () = &mut woken => {}
            () = sleep_until_some(wait) => {}
        }
    }
}

fn produced(version: i16, mut body: bytes::Bytes) -> io::Result<(i16, i64)> {
    let answer = wire::answer::<ProduceRequest>(version, &mut body)?;
    let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    partition
        .map(|partition| (partition.error_code, partition.base_offset))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Writes what is ready; returns when to look again, or fails with the connection.
async fn write_all<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    shared: &Shared,
    id: i32,
    number: u64,
    connection: &mut Connection<S>,
    outstanding: &mut Vec<(i32, i32)>,
) -> Result<Option<Instant>, ()> {
    loop {
        let correlation = connection.next_correlation();
        let (next, config) = {
            let mut state = shared.lock();
            (state.next(id, number, correlation, Instant::now()), state.config.clone())
        };
        let (partition, records) = match next {
            Next::Wait(at) => return Ok(at),
            Next::Send { partition, records } => (partition, records),
        };
        let version = connection.versions.produce;
        let request = wire::produce(&config, partition, records);
        let frame = wire::frame(correlation, version, &request).map_err(drop)?;
        if let Err(failed) = connection.write(frame, config.attempt_timeout).await {
            if !failed.touched {
                shared.lock().unwritten(partition, number, correlation, Instant::now());
            }
            return Err(());
        }
        if config.acks == 0 {
            shared.lock().written(partition, number, correlation);
            shared.timer.notify_one();
        } else {
            outstanding.push((correlation, partition));
        }
    }
}
