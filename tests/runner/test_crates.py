"""python3 -m unittest discover --start-directory tests/runner"""

import os
import tempfile
import unittest
from pathlib import Path
from unittest.mock import patch

import crates
from cache import Cache

OWN = ("deps/libchatferry-00aa.rlib", "deps/it-11bb", "deps/it-11bb.0.rcgu.o", "build/chatferry-22cc/output")
OTHERS = ("deps/libtokio-33dd.rlib", "build/ring-44ee/out/libring.a")
FINGERPRINTS = ("chatferry-00aa", "chatferry-11bb", "chatferry-22cc", "tokio-33dd", "ring-44ee")
ALL_STEPS = [step for steps in crates.FILLED_BY.values() for step in steps]


class CratesTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.cache = Cache(self.directory / "cache")
        self.addCleanup(self.cache.release)
        for name, value in {"CACHE": self.cache, "key": lambda: [b"1"]}.items():
            patched = patch.object(crates, name, value)
            patched.start()
            self.addCleanup(patched.stop)

    def clone(self, name):
        """What follows works in the target directory of this clone."""
        patched = patch.dict(os.environ, CARGO_TARGET_DIR=str(self.directory / name))
        patched.start()
        self.addCleanup(patched.stop)

    def build(self):
        for profile in crates.FILLED_BY:
            for file in (*OWN, *OTHERS, *(f".fingerprint/{unit}/invoked.timestamp" for unit in FINGERPRINTS)):
                path = crates.target() / profile / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file)
                os.utime(path, (1, 1))

    def files(self, profile):
        place = crates.target() / profile
        return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}

    def test_a_fresh_clone_has_the_crates_of_others_and_none_of_the_workspace(self):
        self.clone("first")
        self.build()
        crates.keep(ALL_STEPS)
        self.clone("second")
        crates.restore()
        wanted = {*OTHERS, ".fingerprint/tokio-33dd/invoked.timestamp", ".fingerprint/ring-44ee/invoked.timestamp"}
        for profile in crates.FILLED_BY:
            self.assertEqual(self.files(profile), wanted)
        # Cargo compares times.
        self.assertEqual((crates.target() / "debug" / OTHERS[0]).stat().st_mtime, 1)

    def test_nothing_is_kept_of_a_run_that_did_not_compile_everything(self):
        self.clone("first")
        self.build()
        crates.keep(["build", "test_build"])
        self.assertTrue(self.cache.is_empty())

    def test_a_profile_that_is_there_stays_as_it_is(self):
        self.clone("first")
        self.build()
        crates.keep(ALL_STEPS)
        self.clone("second")
        (crates.target() / "debug").mkdir(parents=True)
        crates.restore()
        self.assertEqual(self.files("debug"), set())
        self.assertTrue(self.files("release"))

    def test_entries_of_two_branches_are_kept(self):
        self.clone("first")
        self.build()
        for number in range(3):
            with patch.object(crates, "key", lambda number=number: [bytes([number])]):
                crates.keep(ALL_STEPS)
        for number, is_there in enumerate([False, True, True]):
            self.assertEqual(self.cache.complete("crates-debug", [bytes([number])]) is not None, is_there)
