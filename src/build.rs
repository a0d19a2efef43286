//! Facts about how the binary is linked.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    // The addresses that are only known at start take half a megabyte as they are usually listed,
    // all of which is read at start and counts as memory; packed (RELR) it is a twentieth.
    if is_native() && glibc() >= Some((2, 36)) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Returns whether the binary is for systems like this one.
fn is_native() -> bool {
    env::var_os("TARGET") == env::var_os("HOST")
}

/// The version of this system's glibc, if it has one; 2.36 is the first that can read such lists.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
