"""Keeps what cargo made of the crates that others wrote, so that a fresh clone compiles only what is in it.

An entry of the cache is a profile's directory without the packages of this workspace. Cargo decides by its fingerprints
whether to use a part of it: an entry can save time, and cannot change what is built.
"""

import functools
import os
import shutil
import subprocess

from cache import remove
from provision import CACHE, cargo
from shell import ROOT, Failed

# Directory of a profile → the steps that compile all that it will ever hold of other crates.
FILLED_BY = {"debug": {"clippy", "doc", "test_build"}, "release": {"build", "instructions"}}
# Packages of this workspace.
OWN = ("chatferry", "chatferry-bench")
PARTS = ("deps", "build", ".fingerprint")
# Entries of each profile: that of this branch and that of another.
ENTRIES = 2
# What cargo's fingerprints depend on for all crates at once; no more, or entries would be made for nothing.
FILES = ("Cargo.lock", "Cargo.toml", "tests/bench/Cargo.toml", ".cargo/config.toml")
FLAGS = ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CC", "CFLAGS")


def target():
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target")


def restore():
    """Fills the profiles that are not there yet, from the cache."""
    for profile in FILLED_BY:
        place = target() / profile
        if not place.exists() and (entry := CACHE.complete(f"crates-{profile}", key())):
            # Renamed when it is whole.
            new = place.with_name(f"{profile}.new")
            remove(new)
            shutil.copytree(entry, new, symlinks=True)
            new.rename(place)
            print(f"other crates for target/{profile}: from the cache", flush=True)


def keep(passed):
    """Puts the profiles into the cache that a run has filled; `passed` are the names of its steps that passed."""
    for profile in (profile for profile, steps in FILLED_BY.items() if steps <= set(passed)):
        name = f"crates-{profile}"
        try:
            CACHE.entry(name, key(), functools.partial(copy_crates, target() / profile))
            CACHE.prune(name, ENTRIES)
        except (OSError, shutil.Error) as error:
            # The next run compiles them once more.
            print(f"other crates of target/{profile} are not in the cache: {error}", flush=True)


def key():
    try:
        cargo()
        compiler = subprocess.run(["rustc", "-vV"], cwd=ROOT, capture_output=True, check=True).stdout
    except (Failed, OSError, subprocess.CalledProcessError):
        compiler = b""
    flags = (f"{name}={os.environ.get(name)}".encode() for name in FLAGS)
    return [compiler, *flags, *((ROOT / file).read_bytes() for file in FILES)]


def copy_crates(profile, entry):
    """Copies a profile's directory without what was made of this workspace."""
    own = {path.name.rsplit("-", 1)[1] for path in (profile / ".fingerprint").iterdir() if is_own(path.name)}

    def of_this_workspace(_, names):
        return [name for name in names if hash_of(name) in own or is_own(name)]

    for part in PARTS:
        shutil.copytree(profile / part, entry / part, symlinks=True, ignore=of_this_workspace)


def is_own(name):
    return name.rpartition("-")[0] in OWN


def hash_of(name):
    """What cargo writes at the end of the names of all that it made of one unit, before any suffix."""
    return name.split(".", 1)[0].rpartition("-")[2]
