//! The fuzzers' corpus and random bytes, run through the fuzzers' own checks on stable Rust.

use std::path::Path;

use proptest::prelude::*;

#[allow(unreachable_pub)] // public to the fuzz targets
#[path = "../../../../fuzz/src/harness.rs"]
mod harness;

#[test]
fn every_input_of_the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, run) in harness::TARGETS {
        let inputs: Vec<_> = std::fs::read_dir(corpus.join(name)).unwrap().collect();
        assert!(inputs.len() >= 3, "{name} has a corpus");
        for input in inputs {
            run(&std::fs::read(input.unwrap().path()).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn random_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..300), target in 0..harness::TARGETS.len()) {
        harness::TARGETS[target].1(&bytes);
    }
}
