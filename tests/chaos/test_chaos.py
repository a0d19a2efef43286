"""The checker finds each of five sabotaged servers by its violation, and nothing on a server without sabotage.

Needs CHATFERRY_BINARY, and the packages of the reference, the kit and the clients."""

import json
import os
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHAOS = Path(__file__).resolve().parent
#: What the checker must find; it may find consequences beside.
FOUND = {
    "drop": {"missed"},
    "double": {"doubled"},
    "swap": {"out of order"},
    "silent": {"missed"},
    "forge": {"shown and not stored"},
}


def verdict(*more):
    command = (sys.executable, CHAOS, "--binary", os.environ["CHATFERRY_BINARY"], "--seed", "1", "--seconds", "4")
    setting = "--calm --json --database sqlite --redis one --backend redis --no-django".split()
    done = subprocess.run((*command, *setting, *more), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise AssertionError(f"the run broke: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


class Sabotage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with ThreadPoolExecutor(2) as pool:
            honest = pool.submit(verdict)
            sabotaged = {kind: pool.submit(verdict, "--settle-s", "6", "--sabotage", kind) for kind in FOUND}
            cls.honest = honest.result()
            cls.sabotaged = {kind: future.result() for kind, future in sabotaged.items()}

    def test_a_server_that_is_well_is_found_to_be(self):
        self.assertEqual((self.honest["counts"], self.honest["complaints"]), ({}, []))
        figures = self.honest["figures"]
        self.assertEqual(figures["stored"], figures["sent"])
        self.assertGreater(figures["frames"], figures["sent"])

    def test_five_sabotaged_servers_of_five_are_found(self):
        found = {kind: self.sabotaged[kind]["counts"] for kind in FOUND}
        for kind, expected in FOUND.items():
            with self.subTest(kind):
                self.assertLessEqual(expected, set(found[kind]))
        count = sum(FOUND[kind] <= set(counts) for kind, counts in found.items())
        print(f"\nsabotage found: {count} of {len(FOUND)}; {found}", flush=True)


if __name__ == "__main__":
    unittest.main()
