//! Do the committed inputs of the fuzzer still hold? `cargo xtask fuzz` finds new ones.

use sekisho_tests::fuzz::corpus;

/// All of them together are small enough to be read by somebody.
const FILES_MAX: usize = 100;
const BYTES_MAX: usize = 300_000;

#[test]
fn every_input_holds() {
    let mut wrong = Vec::new();
    for (target, holds) in corpus::TARGETS {
        let inputs = corpus::read(&corpus::folder(target)).expect("the corpus is committed");
        assert!(!inputs.is_empty(), "{target} has no corpus");
        for (file, input) in inputs {
            wrong.extend(holds(&input).err().map(|why| format!("{}: {why}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a fuzzer begins with; the rows of the packet table among it.
#[test]
fn every_seed_holds() {
    for (target, holds) in corpus::TARGETS {
        for seed in corpus::seeds(target).expect("the examples are there") {
            holds(&seed).unwrap_or_else(|why| panic!("{target}: {why}"));
        }
    }
}

#[test]
fn the_corpus_is_small() {
    let inputs = corpus::TARGETS.iter().flat_map(|(target, _)| {
        corpus::read(&corpus::folder(target)).expect("the corpus is committed")
    });
    let bytes: Vec<_> = inputs.map(|(_, input)| input.len()).collect();
    let sum: usize = bytes.iter().sum();
    assert!(bytes.len() <= FILES_MAX && sum <= BYTES_MAX, "{} files, {sum} bytes", bytes.len());
}
