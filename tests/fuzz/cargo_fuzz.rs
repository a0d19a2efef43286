//! Every target of `cargo fuzz`: the name of the binary says which.

#![no_main]

mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let name = env!("CARGO_BIN_NAME");
    let (_, target) = targets::ALL.iter().find(|(other, _)| *other == name).unwrap();
    target(input);
});
