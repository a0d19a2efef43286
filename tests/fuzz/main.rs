//! Hostile bytes for everything that reads bytes, as a bounded random test on stable Rust.
//!
//! Each target is a function of some bytes that must come back, whatever they are, and that asserts
//! what is true of any input. The driver feeds it the committed corpus and then mutations of it.
//! The same functions are targets of `cargo fuzz`; see `README.md` here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod coverage;
mod driver;
mod targets;

/// One test for each target.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                driver::run(stringify!($name), targets::$name);
            }
        )*

        #[test]
        fn every_target_has_its_test() {
            let names = targets::ALL.map(|(name, _)| name);
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

tests! {
    fernet_token,
    http_bytes,
    json_body,
    jwt,
    layer_message,
    multipart_body,
    session_cookie,
    settings_file,
    socket_bytes,
    socket_text,
}
