//! `dashproof driver`: the reference over librdkafka and its stores, in a process of its own.

use std::io;
use std::sync::Arc;

use dashproof_reference::core::Connect;
use dashproof_reference::runtime::rdkafka::RdkafkaConnect;

use super::child;
use super::stores::Stores;
use crate::saboteur;
use crate::scenario::suggest;
use crate::subject::reference::{ConnectFactory, ReferenceSubject};
use crate::subject::store::{self, Open};

/// Serves the driver protocol on standard input and output with the reference over librdkafka, in
/// the hands of a saboteur if one is named.
///
/// # Errors
/// No saboteur of that name; or the system gives no thread.
pub fn main(saboteur: Option<&str>) -> io::Result<()> {
    let saboteur = saboteur
        .map(|name| {
            let unknown = || {
                let help = suggest(name, saboteur::all().map(|saboteur| saboteur.name));
                let help = help.unwrap_or_default();
                io::Error::other(format!("no saboteur `{name}`; {help}"))
            };
            saboteur::find(name).ok_or_else(unknown)
        })
        .transpose()?;
    child::run(|claims| {
        let connect: ConnectFactory = Arc::new(|config, _bootstrap| {
            let connect: Arc<dyn Connect> = Arc::new(RdkafkaConnect::new(config));
            Ok(connect)
        });
        let subject = ReferenceSubject::new(connect, claims);
        let subject = subject.wall_origin_us(wall_us()).sabotaged(saboteur);
        let open: Open = saboteur.map_or_else(|| Arc::new(store::reference) as Open, |s| s.store());
        Stores::beside(subject, open, Arc::new(|| wall_us() / 1_000_000))
    })
}

/// The system's wall clock; a clock before 1970 counts as 1970.
fn wall_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}
