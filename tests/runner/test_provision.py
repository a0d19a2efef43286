"""python3 -m unittest discover --start-directory tests/runner"""

import tempfile
import unittest
from pathlib import Path

from provision import link


class LinkTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "node_modules"
        self.old, self.new = Path(directory.name) / "old", Path(directory.name) / "new"
        for modules in (self.old, self.new):
            modules.mkdir()
            (modules / "module").touch()

    def is_linked(self):
        link(self.path, self.new)
        self.assertEqual(self.path.readlink(), self.new)
        self.assertTrue((self.path / "module").exists())
        self.assertEqual({path.name for path in self.path.parent.iterdir()}, {"node_modules", "old", "new"})

    def test_where_nothing_is(self):
        self.is_linked()

    def test_in_place_of_a_link_whose_modules_stay(self):
        link(self.path, self.old)
        self.is_linked()
        self.assertTrue((self.old / "module").exists())

    def test_in_place_of_modules_that_npm_put_there(self):
        self.path.mkdir()
        (self.path / "module").touch()
        self.is_linked()


if __name__ == "__main__":
    unittest.main()
