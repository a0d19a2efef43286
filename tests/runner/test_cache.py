"""python3 -m unittest discover --start-directory tests/runner"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cache import Cache, InUse

HERE = Path(__file__).resolve().parent
# Makes an entry with a line for every time that it is made, which takes a moment.
MAKER = """
import sys, time
from pathlib import Path
from cache import Cache

def make(place):
    place.mkdir()
    (place / "begun").touch()
    time.sleep(0.5)
    with (Path(sys.argv[1]) / "made").open("a") as made:
        made.write("made\\n")
    (place / "file").write_text("whole")

place = Cache(Path(sys.argv[1]) / "cache").entry("tool", [b"1"], make)
print((place / "file").read_text())
"""


class CacheTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.cache = Cache(self.directory / "cache")
        self.addCleanup(self.cache.release)
        self.made = 0

    def entry(self, key=b"1"):
        return self.cache.entry("tool", [key], self.make)

    def make(self, place):
        self.made += 1
        place.mkdir()
        (place / "file").write_text("whole")

    def maker(self):
        command = [sys.executable, "-c", MAKER, str(self.directory)]
        process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def test_an_entry_is_made_once(self):
        self.assertEqual(self.entry(), self.entry())
        self.assertEqual(self.made, 1)

    def test_another_key_is_another_entry(self):
        self.assertNotEqual(self.entry(b"1"), self.entry(b"2"))
        self.assertEqual(self.made, 2)

    def test_an_entry_that_was_half_written_is_made_anew(self):
        def broken(place):
            place.mkdir()
            (place / "half").write_text("ha")
            raise OSError("no space left")

        with self.assertRaisesRegex(OSError, "no space left"):
            self.cache.entry("tool", [b"1"], broken)
        place = self.entry()
        self.assertEqual([path.name for path in place.iterdir()], ["file"])

    def test_an_entry_whose_maker_was_killed_is_made_anew(self):
        maker = self.maker()
        while not list(self.directory.glob("cache/tool-*/begun")):
            self.assertIsNone(maker.poll())
        maker.kill()
        maker.wait()
        place = self.entry()
        self.assertEqual([path.name for path in place.iterdir()], ["file"])

    def test_an_entry_that_lost_a_file_is_made_anew(self):
        (self.entry() / "file").unlink()
        self.assertTrue((self.entry() / "file").exists())
        self.assertEqual(self.made, 2)

    def test_an_entry_with_a_file_cut_short_is_made_anew(self):
        (self.entry() / "file").write_text("wh")
        self.assertEqual((self.entry() / "file").read_text(), "whole")

    def test_what_python_compiled_while_it_ran_leaves_an_entry_complete(self):
        compiled = self.entry() / "__pycache__"
        compiled.mkdir()
        (compiled / "module.pyc").write_text("compiled")
        self.entry()
        self.assertEqual(self.made, 1)

    def test_two_runs_at_once_make_an_entry_once(self):
        makers = [self.maker() for _ in range(2)]
        printed = [maker.communicate(timeout=300)[0] for maker in makers]
        self.assertEqual(printed, ["whole\n", "whole\n"])
        self.assertEqual((self.directory / "made").read_text(), "made\n")

    def test_clean_removes_every_entry(self):
        self.entry(b"1")
        self.entry(b"2")
        self.assertFalse(self.cache.is_empty())
        self.cache.release()
        self.cache.clean()
        self.assertTrue(self.cache.is_empty())
        self.entry(b"1")
        self.assertEqual(self.made, 3)

    def test_clean_leaves_the_entries_of_a_run_under_way(self):
        place = self.entry()
        with self.assertRaises(InUse):
            Cache(self.cache.directory).clean()
        self.assertTrue((place / "file").exists())


if __name__ == "__main__":
    unittest.main()
