//! Bad bytes are harmless: the kept corpus of the fuzz target, those bytes changed at random, and
//! bytes at random. `make fuzz` looks for more.

use std::path::Path;

use proptest::prelude::*;

use crate::common::bytes;

fn corpus() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(Path::new("fuzz/corpus/listing")).unwrap();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_corpus_is_harmless() {
    let corpus = corpus();
    assert!(corpus.len() > 10);
    for body in corpus {
        bytes::listing(&body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn so_are_its_changes(
        from in any::<prop::sample::Index>(),
        into in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let corpus = corpus();
        let (mut body, other) = (from.get(&corpus).clone(), into.get(&corpus));
        if !body.is_empty() && !other.is_empty() {
            // The head of one and the tail of another.
            body.truncate(cut.index(body.len()) + 1);
            body.extend_from_slice(&other[cut.index(other.len())..]);
            for (at, byte) in changes {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        bytes::listing(&body);
    }

    #[test]
    fn so_are_bytes_at_random(body in prop::collection::vec(any::<u8>(), 0..1000)) {
        bytes::listing(&body);
    }
}
