//! Arbitrary bytes as the body of a page never break an invariant: the corpus of the fuzz target, random
//! changes to it, and random bytes. `make fuzz` searches for more.

use std::path::Path;

use proptest::prelude::*;

use crate::common::bytes;

fn corpus() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(Path::new("fuzz/corpus/listing")).unwrap();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn corpus_breaks_no_invariant() {
    let corpus = corpus();
    assert!(corpus.len() > 10);
    for body in corpus {
        bytes::listing(&body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bodies_break_no_invariant(
        first in any::<prop::sample::Index>(),
        splice in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let corpus = corpus();
        let mut body = first.get(&corpus).clone();
        if let Some((second, cut)) = splice {
            // The head of one body and the tail of another.
            let tail = second.get(&corpus);
            body.truncate(cut.index(body.len() + 1));
            body.extend_from_slice(&tail[cut.index(tail.len() + 1)..]);
        }
        if !body.is_empty() {
            for (position, byte) in changes {
                let position = position.index(body.len());
                body[position] = byte;
            }
        }
        bytes::listing(&body);
    }

    #[test]
    fn random_bytes_break_no_invariant(body in prop::collection::vec(any::<u8>(), 0..1000)) {
        bytes::listing(&body);
    }
}
