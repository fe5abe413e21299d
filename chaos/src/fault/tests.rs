use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::time::{sleep, timeout};

use crate::broker::client::Client;
use crate::broker::tests::kit::*;
use crate::broker::{Cluster, codes};
use crate::fault::FaultPlan;
use crate::history::{FaultPhase, Recorder};
use crate::scenario::model::{At, Brokers, Fault, FaultKind, LinkFault, Scenario, TopicSel};

pub(crate) mod manual;
mod net;
mod request;

const BEGIN: FaultPhase = FaultPhase::Begin;
const EFFECT: FaultPhase = FaultPhase::Effect;
const END: FaultPhase = FaultPhase::End;

/// A cluster with one fault planned, and a connection to the leader of partition 0.
struct Rig {
    cluster: Arc<Cluster>,
    recorder: Recorder,
    plan: FaultPlan,
    client: Client<DuplexStream>,
}

fn rig(kind: FaultKind) -> Rig {
    let (cluster, recorder) = cluster();
    let fault = Fault::new(At::Time(Duration::ZERO), None, kind);
    let scenario = Scenario { faults: vec![fault], ..Scenario::default() };
    let plan = FaultPlan::new(&scenario, Arc::clone(&cluster));
    let client = connect(&cluster, 1);
    Rig { cluster, recorder, plan, client }
}

impl Rig {
    fn reconnect(&mut self) {
        self.client = connect(&self.cluster, 1);
    }

    /// Offers one event to partition 0; `None` when no answer comes within five seconds.
    async fn try_offer(&mut self, n: u32) -> Option<(i16, i64)> {
        let call = self.client.call(9, &produce(batch(PLAIN, &[n], b"x"))).await;
        call.ok().map(|response| answer(&response))
    }

    async fn offer(&mut self, n: u32) -> Option<(i16, i64)> {
        timeout(Duration::from_secs(5), self.try_offer(n)).await.ok().flatten()
    }

    async fn closed(&mut self) -> bool {
        timeout(Duration::from_secs(1), self.client.frame()).await.is_ok_and(|end| end.is_err())
    }

    fn appended(&self) -> usize {
        truths(&self.recorder.lines()).iter().filter(|t| t.appended.is_some()).count()
    }

    fn phases(&self) -> Vec<FaultPhase> {
        phases(&self.recorder, 0)
    }
}
