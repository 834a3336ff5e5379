//! What the README shows is what there is.

const README: &str = include_str!("../../../../README.md");

#[test]
fn the_first_example_is_the_one_that_can_be_run() {
    let example = include_str!("../../examples/quickstart.rs");
    let code = example.find("use std").map(|at| &example[at..]).unwrap();
    assert!(
        README.contains(code),
        "README.md and examples/quickstart.rs differ"
    );
}
