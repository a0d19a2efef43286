"""Every kind of database starts, in a directory with a long path too. A run that cannot start says why, and leaves nothing."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path += [str(HERE.parent), str(HERE.parents[1] / "runner"), str(HERE.parents[2] / "compat" / "kit")]

import databases
import processes
import shell

#: Bytes of the path of a Unix socket.
LONGEST_SOCKET = 107
#: Bound for what should take seconds.
PATIENCE_S = 300


def deep_directory():
    """A directory whose own path is as long as that of a Unix socket may be."""
    directory = Path(tempfile.mkdtemp(prefix="start-", dir=shell.scratch())) / ("x" * LONGEST_SOCKET)
    directory.mkdir()
    directory.parent.chmod(0o755)
    return directory


def mounted_below(directory):
    mounts = (line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines())
    return [mount for mount in mounts if mount.startswith(f"{directory}/")]


class Databases(unittest.TestCase):
    def test_every_kind_starts_where_paths_are_long(self):
        for name, kind in databases.KINDS.items():
            with self.subTest(name):
                directory = deep_directory()
                database = kind(directory)
                try:
                    asyncio.run(database.start())
                    self.assertEqual([tuple(row) for row in database.rows("SELECT 1")], [(1,)])
                finally:
                    database.end()
                self.assertEqual(mounted_below(directory), [])


class Processes(unittest.TestCase):
    def test_one_that_another_fault_has_started_again_is_left_alone(self):
        process = processes.Process("sleeper", ("sleep", "300"), tempfile.mkdtemp(dir=shell.scratch()))
        process.start()
        try:
            with process.killed():
                process.start()
                started = process.pid
            self.assertEqual(process.pid, started)
            with process.killed():
                pass
            self.assertNotEqual(process.pid, started)
        finally:
            process.end()


class BrokenStart(unittest.TestCase):
    def setUp(self):
        self.programs = Path(tempfile.mkdtemp(prefix="programs-", dir=shell.scratch()))
        self.scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=shell.scratch()))
        self.scratch.chmod(0o755)

    def program(self, name, script):
        file = self.programs / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    def start(self, seeds, binary, **setting):
        """A run, which writes into `scratch` alone."""
        command = (sys.executable, HERE.parent, "--binary", binary, seeds, "0", "--redis", "one", "--no-django")
        options = [part for name, value in setting.items() for part in (f"--{name}", value)]
        environment = {**os.environ, "TMPDIR": str(self.scratch), "PATH": f"{self.programs}:{os.environ['PATH']}"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen((*command, *options), env=environment, **pipes)
        self.addCleanup(process.kill)
        return process

    def run_breaks(self, binary, saying, **setting):
        """Runs it for one seed alone and as one of many."""
        for seeds in ("--seed", "--seeds"):
            process = self.start(seeds, binary, **setting)
            output, _ = process.communicate(timeout=PATIENCE_S)
            self.assertNotEqual(process.returncode, 0)
            self.assertIn(saying, output)
            self.assertNotIn("Traceback", output)
            self.leaves_nothing()

    def leaves_nothing(self):
        self.assertEqual(mounted_below(self.scratch), [])
        self.assertEqual(list(self.scratch.iterdir()), [])
        self.assertEqual(self.processes_below_scratch(), [])

    def processes_below_scratch(self):
        """Command lines that name the run's directory."""
        found = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.scratch) in line:
                found.append(line)
        return found

    def test_a_chatferry_that_cannot_migrate(self):
        binary = self.program("chatferry", "echo no tables today >&2; exit 3")
        self.run_breaks(binary, "no tables today", database="postgres")

    def test_a_chatferry_that_ends_at_once(self):
        binary = self.program("chatferry", '[ "$1" = migrate ] || { echo not today >&2; exit 3; }')
        self.run_breaks(binary, "chatferry-0 does not start: not today", database="mariadb")

    def test_a_redis_that_ends_at_once(self):
        self.program("redis-server", "echo no memory today; exit 3")
        self.run_breaks(self.program("chatferry", "exit 0"), "redis does not answer: no memory today", database="sqlite")

    def test_a_run_that_is_terminated_leaves_nothing(self):
        binary = self.program("chatferry", '[ "$1" = migrate ] || exec sleep 1000')
        for seeds in ("--seed", "--seeds"):
            process = self.start(seeds, binary, database="mariadb")
            deadline = time.monotonic() + PATIENCE_S
            while not list(self.scratch.glob("**/chatferry-0.log")):
                self.assertIsNone(process.poll())
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
            self.assertEqual(process.returncode, 128 + signal.SIGTERM)
            self.leaves_nothing()


if __name__ == "__main__":
    unittest.main()
