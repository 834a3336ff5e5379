//! The fuzzer's corpus, run through the fuzzer's own checks on stable Rust.

use std::path::Path;

#[allow(unreachable_pub)] // public to the fuzz target
#[path = "../../../../fuzz/src/adopter.rs"]
mod adopter;

#[test]
fn every_input_of_the_corpus_is_adopted_without_inventing_a_call() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/flight_adopt");
    let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
    assert!(inputs.len() >= 3);
    for input in inputs {
        adopter::adopt(&std::fs::read(input.unwrap().path()).unwrap());
    }
}
