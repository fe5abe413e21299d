//! One run: two hosts in turmoil, stepped by hand.
//!
//! `subject` runs the request loop of a driver, the application's tasks and the producer; `brokers`
//! runs a listener per broker and the director. The subject is stepped first, so that whatever the
//! director starts is seen one tick later, never earlier. Network faults act in the broker's
//! connection layer, as on real sockets; turmoil only carries bytes, with a small seeded latency.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::clock::SimClock;
use super::disk::SimDisk;
use super::home::{Home, Order};
use super::panics::Ear;
use crate::broker;
use crate::disk::Machine;
use crate::history::{Kind, Recorder, Src};
use crate::lane::watchdog::Watched;
use crate::lane::world::{ModelWorld, cluster_config};
use crate::lane::{HarnessError, RunInput, RunOutput};
use crate::scenario::model::LaneName;
use crate::subject::driver::child::Claims;
use crate::subject::logs;
use crate::subject::reference::spool::Reopen;
use crate::subject::runner::{self, Stage};
use crate::subject::secrets::secrets;
use crate::subject::{Subject, message};
use dashproof_reference::fs::Fs;

/// Port of the first broker.
const PORT: u16 = 9001;
/// The simulated epoch, seconds: 2025-01-01T00:00:00Z.
const EPOCH_S: u64 = 1_735_689_600;
/// Latency of the simulated network.
const LATENCY: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(2));
/// Steps past three times the budget before the loop gives a run up that its director did not.
const SLACK: Duration = Duration::from_secs(60);

/// Makes the subject; called once per life of its host.
pub(super) type MakeSubject = Arc<dyn Fn(Recorder, Arc<dyn Fs>) -> Arc<dyn Subject>>;

type Ended = Arc<Mutex<Option<Result<(), HarnessError>>>>;

/// Plays the input with whatever subject `make` makes. The history begins with the `run` line.
pub(super) fn play(input: &RunInput, make: MakeSubject, reopen: Option<Reopen>) -> RunOutput {
    played(input, make, reopen).0
}

/// The same, with the machines of the run whose crash states were tried: those where `reopen` opens
/// the subject's spool.
pub(super) fn played(
    input: &RunInput,
    make: MakeSubject,
    reopen: Option<Reopen>,
) -> (RunOutput, Vec<Machine>) {
    let clock = Arc::new(SimClock::default());
    let recorder = Recorder::new(clock.clone());
    recorder.harness(input.opening(LaneName::Sim, environment(input)));
    let ear = Ear::open();
    logs::anchor();
    // for this thread alone, which is the whole simulation
    let _logs = (!secrets(&input.scenario.producer).is_empty()).then(|| {
        let recorder = recorder.clone();
        let claims: Claims = Arc::new(move |kind| recorder.record(Src::Subject, kind));
        tracing::subscriber::set_default(logs::subscriber(claims))
    });
    let disk = SimDisk::new(input.seed, recorder.clone(), reopen);
    let ended =
        catch_unwind(AssertUnwindSafe(|| steps(input, make, &clock, &disk, &recorder, &ear)));
    let error = ended.unwrap_or_else(|payload| Err(panicked(payload.as_ref()))).err();
    (RunOutput { lines: recorder.take(), error, ..RunOutput::default() }, disk.machines())
}

/// What a replay relies on.
fn environment(input: &RunInput) -> Vec<(String, String)> {
    let tick = input.scenario.tick.as_micros().to_string();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    vec![
        pair("dashproof", env!("CARGO_PKG_VERSION")),
        pair("turmoil", super::TURMOIL),
        pair("tokio", super::TOKIO),
        pair("tick_us", &tick),
    ]
}

fn steps(
    input: &RunInput,
    make: MakeSubject,
    clock: &Arc<SimClock>,
    disk: &SimDisk,
    recorder: &Recorder,
    ear: &Ear,
) -> Result<(), HarnessError> {
    let scenario = &input.scenario;
    let tick = scenario.tick.max(Duration::from_millis(1));
    let watched = Watched::begin();
    let home = Home::new(recorder.clone(), watched.clone(), disk.clone());
    let ended = Ended::default();
    let mut sim = builder(input.seed, tick).build();
    {
        let (home, recorder, disk) = (home.clone(), recorder.clone(), disk.clone());
        sim.host("subject", move || {
            let (home, subject) = (home.clone(), make(recorder.clone(), disk.mount()));
            async move {
                home.live(subject).await;
                Ok(())
            }
        });
    }
    brokers(&mut sim, input, recorder, &home, &watched, &ended);
    let limit = (scenario.budget * 3 + SLACK).as_micros() / tick.as_micros();
    for _ in 0..limit {
        let stepped = catch_unwind(AssertUnwindSafe(|| sim.step()));
        clock.stepped(sim.elapsed());
        watched.stepped();
        let heard = ear.heard();
        for text in &heard {
            let (what, text) = ("panic".to_owned(), text.clone());
            recorder.record(Src::Os, Kind::Proc { what, value: 0, text });
        }
        if let Err(payload) = stepped {
            // What is left of a simulation after a panic cannot be trusted, not even to be dropped.
            std::mem::forget(sim);
            return Err(broken(&watched, &heard, payload.as_ref()));
        }
        if let Some(blame) = watched.livelock() {
            return Err(stuck(blame));
        }
        if let Ok(Err(error)) = stepped {
            return Err(harness(format!("a simulated host failed: {error}")));
        }
        if let Some(ended) = ended.lock().unwrap_or_else(PoisonError::into_inner).take() {
            disk.try_crashes();
            return ended;
        }
        for order in home.orders() {
            match order {
                Order::Crash(dead) => {
                    home.depart();
                    disk.power_off();
                    clock.frozen(|| sim.crash("subject"));
                    let _ = dead.send(());
                }
                Order::Restart => clock.frozen(|| sim.bounce("subject")),
            }
        }
    }
    Err(harness("the director did not end the run".to_owned()))
}

fn builder(seed: u64, tick: Duration) -> turmoil::Builder {
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_S))
        .tick_duration(tick)
        .simulation_duration(Duration::from_secs(u64::from(u32::MAX)))
        .min_message_latency(LATENCY.0)
        .max_message_latency(LATENCY.1)
        .tcp_capacity(4096);
    builder
}

/// The host of brokers and director.
fn brokers(
    sim: &mut turmoil::Sim<'_>,
    input: &RunInput,
    recorder: &Recorder,
    home: &Arc<Home>,
    watched: &Arc<Watched>,
    ended: &Ended,
) {
    let scenario = input.scenario.clone();
    let run = input.digest(LaneName::Sim);
    let count = u16::try_from(scenario.brokers).unwrap_or(u16::MAX - PORT);
    let ports = (0..count).map(|i| PORT + i);
    let advertised: Vec<(String, u16)> = ports.map(|port| ("brokers".to_owned(), port)).collect();
    let servers: Vec<String> = advertised.iter().map(|(h, p)| format!("{h}:{p}")).collect();
    let config = cluster_config(&scenario, run, advertised.clone());
    let world = ModelWorld::new(&scenario, config, recorder.clone(), input.seed);
    let stage = Stage {
        scenario,
        seed: input.seed,
        run,
        bootstrap: servers.join(","),
        measure: message::measure,
        subject: home.clone(),
        world: world.clone(),
        control: home.clone(),
        recorder: recorder.clone(),
    };
    let (stage, ended, watched) = (Mutex::new(Some(stage)), ended.clone(), watched.clone());
    sim.host("brokers", move || {
        let stage = stage.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (world, advertised, ended) = (world.clone(), advertised.clone(), ended.clone());
        let watched = watched.clone();
        async move {
            watched.host("harness");
            for (id, (_, port)) in world.cluster().broker_ids().into_iter().zip(advertised) {
                let listener = turmoil::net::TcpListener::bind(("0.0.0.0", port)).await?;
                tokio::spawn(broker::accept_loop(world.cluster().clone(), id, listener));
            }
            // This host is never killed, so it starts once.
            if let Some(stage) = stage {
                // the reference knows every setting that a file can have
                let known = |message| HarnessError { blame: "implementation", message };
                let result = runner::drive(stage).await;
                let result =
                    result.and_then(|unknown| unknown.map_or(Ok(()), |why| Err(known(why))));
                *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
            Ok(())
        }
    });
}

fn harness(message: String) -> HarnessError {
    HarnessError { blame: "harness", message }
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without text")
}

fn panicked(payload: &(dyn Any + Send)) -> HarnessError {
    harness(format!("the simulation panicked: {}", text(payload)))
}

fn stuck(blame: &'static str) -> HarnessError {
    let message = "time stands still: a host goes on without waiting".to_owned();
    HarnessError { blame, message }
}

/// A host died of a panic; the panic's own place says whose it was.
fn broken(watched: &Watched, heard: &[String], payload: &(dyn Any + Send)) -> HarnessError {
    if let Some(blame) = watched.livelock() {
        return stuck(blame);
    }
    let first = heard.first().map_or_else(|| text(payload), String::as_str);
    let blame = if first.contains("reference/src") { "implementation" } else { "harness" };
    HarnessError { blame, message: format!("a task panicked: {first}") }
}
