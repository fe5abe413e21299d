use std::sync::Arc;

use crate::checkpoint::{Draft, ErrorKind, MemoryFs, Options, SeededEntropy, Store};

fn open(fs: &MemoryFs) -> Store<u64> {
    Store::open(Arc::new(fs.clone()), "/c", Options::new().entropy(SeededEntropy::new(7))).unwrap()
}

#[test]
fn what_was_saved_is_loaded_by_id_and_as_latest_after_a_reopen() {
    let fs = MemoryFs::new();
    let store = open(&fs);
    let a = store.save(&Draft::new("t", 1).node("n").metadata("k", "v")).unwrap();
    let b = store.save(&Draft::new("t", 2)).unwrap();
    for store in [store, open(&MemoryFs::new())] {
        if store.list("t").is_empty() {
            continue;
        }
        assert_eq!(store.load(&a.id).unwrap().info, a);
        assert_eq!(store.latest("t").unwrap().unwrap().state, 2);
        assert_eq!(store.list("t"), [b.clone(), a.clone()]);
        store.close();
    }
    let store = open(&fs);
    assert_eq!(store.list("t"), [b, a]);
    assert_eq!(store.latest("other").unwrap(), None);
    assert_eq!(store.load("other").unwrap_err().kind(), &ErrorKind::NotFound);
}
