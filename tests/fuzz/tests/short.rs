//! Runs each function for some seconds with its corpus, with the same changes of it every time, and with
//! new changes. A failing input is made smaller and printed. Add it to the corpus.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The time for new changes, after the changes that are always the same.
const NEW: Duration = Duration::from_secs(7);
const SAME: u32 = 5_000;
const BATCH: u32 = 500;

/// A change of an input.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
}

#[test]
fn response() {
    short("response", fuzzing::response);
}

#[test]
fn calls() {
    short("calls", fuzzing::calls);
}

#[test]
fn replies() {
    short("replies", fuzzing::replies);
}

#[test]
fn names() {
    short("names", fuzzing::names);
}

#[test]
fn answers() {
    short("answers", fuzzing::answers);
}

fn short(name: &str, body: fn(&[u8])) {
    let corpus = corpus(name);
    corpus.iter().for_each(|input| body(input));
    let inputs = inputs(corpus);
    let run = |runner: &mut TestRunner| {
        let outcome = runner.run(&inputs, |input| {
            body(&input);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    run(&mut runner(0, SAME));
    let seed = RandomState::new().hash_one(name);
    println!("{name}: the seed of the new changes is {seed:#x}");
    let (mut runner, began) = (runner(seed, BATCH), Instant::now());
    while began.elapsed() < NEW {
        run(&mut runner);
    }
}

fn runner(seed: u64, cases: u32) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    // Failures belong in the corpus, where libFuzzer finds them too.
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, rng)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/../../fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(&folder).expect("every function has a corpus").flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} holds no inputs");
    paths.iter().map(|path| fs::read(path).expect("a file of ours can be read")).collect()
}

fn inputs(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 1..8),
        select(
            ["\r\n", "\n", "\0", ":", ";", "/", "..", "@", "\"", "[", "{", "\u{202e}", "1e999", "MRL1"]
                .as_slice()
        )
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), piece).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), 1..20_usize).prop_map(|(at, size)| Change::Remove(at, size)),
        (any::<Index>(), 1..20_usize, 1..300_usize)
            .prop_map(|(at, size, times)| Change::Repeat(at, size, times)),
    ];
    let changed = (select(corpus), vec(change, 0..6)).prop_map(|(mut input, changes)| {
        changes.iter().for_each(|change| apply(&mut input, change));
        input
    });
    prop_oneof![9 => changed, 1 => vec(any::<u8>(), 0..300)]
}

fn apply(input: &mut Vec<u8>, change: &Change) {
    let place = |at: &Index| at.index(input.len() + 1);
    match change {
        Change::Set(at, byte) => {
            let at = place(at);
            if let Some(old) = input.get_mut(at) {
                *old = *byte;
            }
        }
        Change::Insert(at, piece) => {
            let at = place(at);
            input.splice(at..at, piece.iter().copied());
        }
        Change::Remove(at, size) => {
            let at = place(at);
            let end = input.len().min(at + size);
            input.drain(at..end);
        }
        Change::Repeat(at, size, times) => {
            let at = place(at);
            let end = input.len().min(at + size);
            let repeated = input[at..end].repeat(*times);
            input.splice(at..at, repeated);
        }
    }
}
