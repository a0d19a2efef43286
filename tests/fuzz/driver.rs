//! Feeds a target its corpus, and then mutations of it that another run can repeat.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{coverage::Coverage, targets::Target};

/// Mutations of an ordinary run; `FUZZ_INPUTS` asks for more.
const INPUTS: u64 = 5_000;

/// Longest input.
const LONGEST: usize = 16 * 1024;

/// Bytes that readers of lengths, numbers and text trip over.
const AWKWARD: [&[u8]; 16] = [
    b"\0",
    b"\xff",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x80",
    b"\r\n",
    b"\n",
    b"\"",
    b"\\ud800",
    b"[[[[[[[[",
    b"{\"a\":",
    b"1e999",
    b"-9223372036854775809",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"%00",
    b"=",
];

/// Runs `target` over its corpus and over `FUZZ_INPUTS` mutations of it, from `FUZZ_SEED` on. In a build
/// with counters those that reach more are mutated in their turn, and the shortest of them that reach
/// all places are written to a directory below `FUZZ_KEEP`.
///
/// # Panics
/// With the name of a file that holds the input that made the target panic.
pub fn run(name: &str, target: Target) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut files: Vec<PathBuf> = fs::read_dir(here.join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty(), "{name} has no corpus");
    let (given, mut coverage) = (corpus.len(), Coverage::default());
    for input in &corpus {
        reaches(name, target, input, &mut coverage);
    }
    let inputs = number("FUZZ_INPUTS").unwrap_or(INPUTS);
    let seed = number("FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs()
    });
    println!("{name}: {inputs} inputs, FUZZ_SEED={seed}");
    let mut random = Random::new(seed, name);
    for _ in 0..inputs {
        let input = mutation(&corpus, &mut random);
        if reaches(name, target, &input, &mut coverage) {
            corpus.push(input);
        }
    }
    if Coverage::is_known() {
        println!("{name}: {} reached more", corpus.len() - given);
    }
    if let Some(directory) = env::var_os("FUZZ_KEEP") {
        let found = corpus.split_off(given);
        keep(
            name,
            target,
            (&corpus, found),
            &Path::new(&directory).join(name),
        );
    }
}

/// Runs `target` once. Returns `true` if it got further than ever.
fn reaches(name: &str, target: Target, input: &[u8], coverage: &mut Coverage) -> bool {
    Coverage::begin();
    attempt(name, target, input);
    coverage.news() > 0
}

/// Writes those of the inputs that were found that are needed to reach all places, the short ones first.
fn keep(name: &str, target: Target, inputs: (&[Vec<u8>], Vec<Vec<u8>>), directory: &Path) {
    let (given, mut found) = inputs;
    let mut coverage = Coverage::default();
    let mut reaches_more = |input: &[u8]| {
        Coverage::begin();
        attempt(name, target, input);
        coverage.places() > 0
    };
    for input in given {
        reaches_more(input);
    }
    found.sort_by_key(Vec::len);
    fs::create_dir_all(directory).unwrap();
    for input in found {
        if reaches_more(&input) {
            let file = format!("{:016x}", hash(&input, 0));
            fs::write(directory.join(file), input).unwrap();
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn attempt(name: &str, target: Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_ok() {
        return;
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join(name);
    fs::write(&file, input).unwrap();
    panic!("{name} does not stand the input in {}", file.display());
}

fn mutation(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(32)).min(input.len());
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.byte(),
            2 => insert(&mut input, at, AWKWARD[random.below(AWKWARD.len())]),
            3 => {
                let again = input[at..end].repeat(1 + random.below(4));
                insert(&mut input, at, &again);
            }
            4 => drop(input.drain(at..end)),
            5 => input.truncate(at),
            6 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                insert(&mut input, at, &other[from..]);
            }
            _ => {
                let byte = [random.byte()];
                insert(&mut input, at, &byte.repeat(1 + random.below(3)));
            }
        }
    }
    input.truncate(LONGEST);
    input
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// A number for some bytes (FNV-1a).
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let begin = seed ^ 0x9e37_79b9_7f4a_7c15;
    bytes.iter().fold(begin, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Numbers that look random and can be had again (xorshift64*).
struct Random(u64);

impl Random {
    /// Each target gets numbers of its own from one seed.
    fn new(seed: u64, name: &str) -> Self {
        Random(hash(name.as_bytes(), seed).max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from((self.next() >> 11) % end).unwrap()
    }
}
