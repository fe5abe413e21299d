//! Makes the states of a load: seeded, of an exact length, each a little different from the last.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::scenario::model::{Load, Size, StateLoad};
use crate::subject::state::{Defect, Shown, canonical};

/// Canonical bytes of an item of the log; what does not fill one goes into `notes`.
const ITEM: usize = 960;
/// Items that differ from the state before.
const CHANGES: usize = 3;

/// A state as it is offered.
pub(super) struct State {
    value: Value,
    turn: usize,
    defect: Option<Defect>,
    nest: Option<u32>,
    /// Its canonical JSON, without the defect.
    pub(super) text: String,
    /// Objects and arrays inside each other.
    pub(super) depth: u64,
}

impl State {
    pub(super) fn shown(&self) -> Shown<'_> {
        Shown { value: &self.value, turn: self.turn, defect: self.defect, nest: self.nest }
    }

    pub(super) const fn defect(&self) -> Option<Defect> {
        self.defect
    }
}

/// SHA-256 in hex.
pub(super) fn sha(text: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    hex(&digest)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One thread's states. Items are made when they are needed and made again when they change.
pub(super) struct Maker {
    thread: String,
    rng: fastrand::Rng,
    salt: u64,
    /// What is shorter than an item is filled with the beginning of this.
    notes: String,
    /// How often each item has changed.
    versions: Vec<u32>,
    /// Items with their canonical text.
    items: Vec<(Value, String)>,
    step: u32,
    /// Length of the last state.
    size: usize,
}

impl Maker {
    pub(super) fn new(thread: &str, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        thread
            .bytes()
            .for_each(|byte| rng = fastrand::Rng::with_seed(rng.u64(..) ^ u64::from(byte)));
        Self {
            thread: thread.to_owned(),
            salt: rng.u64(..),
            notes: (0..ITEM).map(|_| rng.alphanumeric()).collect(),
            rng,
            versions: Vec::new(),
            items: Vec::new(),
            step: 0,
            size: 0,
        }
    }

    /// The load's k-th state.
    pub(super) fn state(&mut self, load: &Load, states: &StateLoad, k: u32) -> State {
        let again = states.shape == "repeating" && k / load.threads % 2 == 1 && self.step > 0;
        if !again {
            self.size = self.length(load, states, k);
            self.step += 1;
            for _ in 0..CHANGES.min(self.versions.len()) {
                let at = self.rng.usize(..self.versions.len());
                if let Some(version) = self.versions.get_mut(at) {
                    *version += 1;
                }
                if at < self.items.len() {
                    let new = self.item(at);
                    self.items.splice(at..=at, [new]);
                }
            }
        }
        let special = (k + 1).is_multiple_of(states.every);
        let defect = states.defect.as_deref().and_then(Defect::named).filter(|_| special);
        // The root object is a level of its own.
        let nest = states.depth.filter(|_| special).map(|depth| depth - 1);
        self.build(defect, nest)
    }

    fn length(&mut self, load: &Load, states: &StateLoad, k: u32) -> usize {
        match (&load.size, states.shape.as_str()) {
            (Size::Fixed(bytes), _) => *bytes,
            (Size::Uniform(min, max), "growing") => {
                let steps = u64::from(states.count.saturating_sub(1).max(1));
                let part = (max - min) as u64 * u64::from(k) / steps;
                min + usize::try_from(part).unwrap_or(0)
            }
            (Size::Uniform(min, max), "alternating") => {
                if k.is_multiple_of(2) {
                    *min
                } else {
                    *max
                }
            }
            (Size::Uniform(min, max), _) => self.rng.usize(*min..=*max.max(min)),
        }
    }

    /// An item, filled up to its length.
    fn item(&self, at: usize) -> (Value, String) {
        let version = self.versions.get(at).copied().unwrap_or(0);
        let seed = self.salt ^ (at as u64).rotate_left(32) ^ u64::from(version);
        let mut rng = fastrand::Rng::with_seed(seed);
        let name: String = (0..12).map(|_| rng.alphanumeric()).collect();
        let mut item = json!({
            "role": if rng.bool() { "user" } else { "tool" },
            "name": format!("é\"{name}\\"),
            "at": at,
            "version": version,
            "score": (rng.f64() - 0.5) * 1e3,
            "ids": [rng.i16(..), rng.i64(..), null],
            "pad": "",
        });
        let missing = ITEM.saturating_sub(canonical(&item).len());
        let from = rng.usize(..ITEM);
        let pad = self.notes.repeat(2).get(from..from + missing).unwrap_or_default().to_owned();
        if let Some(slot) = item.get_mut("pad") {
            *slot = pad.into();
        }
        let text = canonical(&item);
        (item, text)
    }

    fn build(&mut self, defect: Option<Defect>, nest: Option<u32>) -> State {
        let deep = nest.map(|nest| {
            let nest = nest as usize;
            format!("\"deep\":{}0{},", "[".repeat(nest), "]".repeat(nest))
        });
        let deep = deep.unwrap_or_default();
        let tail = format!(",\"step\":{},\"thread\":\"{}\"}}", self.step, self.thread);
        let around = format!("{{{deep}\"log\":[],\"notes\":\"\"{tail}").len();
        let room = self.size.saturating_sub(around);
        // Each but the first has a comma.
        let count = (room + 1) / (ITEM + 1);
        self.versions.resize(self.versions.len().max(count), 0);
        while self.items.len() < count {
            self.items.push(self.item(self.items.len()));
        }
        self.items.truncate(count);
        let texts: Vec<&str> = self.items.iter().map(|(_, text)| text.as_str()).collect();
        let log = texts.join(",");
        let rest = room.saturating_sub(log.len());
        let notes: String = self.notes.chars().cycle().take(rest).collect();
        let text = format!("{{{deep}\"log\":[{log}],\"notes\":\"{notes}\"{tail}");
        let items: Vec<Value> = self.items.iter().map(|(value, _)| value.clone()).collect();
        let value = json!({
            "thread": self.thread,
            "step": self.step,
            "log": items,
            "notes": notes,
        });
        // root, log, item, ids
        let own = if count == 0 { 2 } else { 4 };
        let depth = own.max(nest.map_or(0, |nest| u64::from(nest) + 1));
        State { value, turn: self.rng.usize(..8), defect, nest, text, depth }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(size: Size, shape: &str) -> (Load, StateLoad) {
        let states =
            StateLoad { count: 5, shape: shape.to_owned(), defect: None, depth: None, every: 1 };
        let load = Load { states: Some(states.clone()), size, ..Load::default() };
        (load, states)
    }

    #[test]
    fn a_state_has_exactly_the_length_that_is_asked_for_and_its_text_is_canonical() {
        let mut maker = Maker::new("t0", 7);
        for size in [128, 129, 500, 4096, 65_537] {
            let (load, states) = load(Size::Fixed(size), "steady");
            let state = maker.state(&load, &states, 0);
            assert_eq!(state.text.len(), size);
            assert_eq!(canonical(&state.value), state.text);
            let shown = serde_json::to_value(state.shown()).unwrap();
            assert_eq!(canonical(&shown), state.text);
        }
    }

    #[test]
    fn a_nested_state_has_its_depth_and_its_length() {
        let (load, mut states) = load(Size::Fixed(1000), "steady");
        states.depth = Some(60);
        let state = Maker::new("t0", 7).state(&load, &states, 0);
        assert_eq!((state.text.len(), state.depth), (1000, 60));
        let shown = serde_json::to_value(state.shown()).unwrap();
        assert_eq!(canonical(&shown), state.text);
    }

    #[test]
    fn shapes_are_what_their_names_say() {
        let lengths = |shape| {
            let (load, states) = load(Size::Uniform(1000, 5000), shape);
            let mut maker = Maker::new("t0", 7);
            (0..5).map(|k| maker.state(&load, &states, k).text.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths("growing"), [1000, 2000, 3000, 4000, 5000]);
        assert_eq!(lengths("alternating"), [1000, 5000, 1000, 5000, 1000]);
        let (load, states) = load(Size::Uniform(1000, 5000), "repeating");
        let mut maker = Maker::new("t0", 7);
        let texts: Vec<String> = (0..4).map(|k| maker.state(&load, &states, k).text).collect();
        assert!(texts[0] == texts[1] && texts[1] != texts[2] && texts[2] == texts[3]);
    }

    #[test]
    fn threads_and_seeds_have_states_of_their_own() {
        let (load, states) = load(Size::Fixed(1000), "steady");
        let of = |thread, seed| Maker::new(thread, seed).state(&load, &states, 0).text;
        assert_eq!(of("t0", 1), of("t0", 1));
        assert_ne!(of("t0", 1), of("t0", 2));
        assert_ne!(of("t0", 1).replace("t0", "t1"), of("t1", 1));
    }
}
