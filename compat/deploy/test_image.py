"""The container image without a container engine: the same files, user and variables in a plain root folder.

What is copied, set and run is read from the Dockerfile; only the build of the binary is not repeated.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

from pair import ROOT, binary
from servers import clean_environment, free_port, launch

LIMIT_BYTES = 30_000_000


def instructions():
    """The Dockerfile's second stage: pairs of an instruction and its text."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    pairs = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    last = max(at for at, (name, _) in enumerate(pairs) if name == "FROM")
    return pairs[last:]


class Image(unittest.TestCase):
    """One root folder for all the tests."""

    @classmethod
    def setUpClass(cls):
        if binary() is None:
            raise unittest.SkipTest("no chatferry binary: build it, or name it in CHATFERRY_BINARY")
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can change the root folder")
        cls.said = dict(instructions())
        cls.user, cls.entry = cls.said["USER"], json.loads(cls.said["ENTRYPOINT"])
        cls.variables = dict(pair.split("=", 1) for pair in cls.said["ENV"].split())
        made = tempfile.TemporaryDirectory(prefix="chatferry-image-")
        cls.addClassCleanup(made.cleanup)
        parts, cls.root = Path(made.name) / "parts", Path(made.name) / "root"
        Path(made.name).chmod(0o755)
        subprocess.run([ROOT / "compat/deploy/image/layout", binary(), parts], check=True)
        cls.root.mkdir()
        for text in (text for name, text in instructions() if name == "COPY"):
            *options, source, target = text.split()
            owner = next((option.partition("=")[2] for option in options if option.startswith("--chown=")), "0:0")
            source = parts / Path(source).relative_to("/image")
            subprocess.run(["chown", "-R", owner, source], check=True)
            subprocess.run(["cp", "-a", f"{source}/.", f"{cls.root}{target}"], check=True)

    def command(self, *arguments, **variables):
        """A command in the folder, which can be written only where the Dockerfile has a volume."""
        volume = f"{self.root}{self.said['VOLUME']}"
        user, group = self.user.split(":")
        steps = (
            f"mount --bind {self.root} {self.root} && mount --bind {volume} {volume}"
            f" && mount -o remount,bind,ro {self.root}"
            f" && exec unshare --setuid {user} --setgid {group} --root {self.root} --wd {self.said['WORKDIR']}"
            ' "$@"'
        )
        return ["unshare", "--mount", "sh", "-c", steps, "sh", *arguments], clean_environment(**{**self.variables, **variables})

    def run_inside(self, *arguments, **variables):
        command, environment = self.command(*arguments, **variables)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def test_the_image_is_small_and_holds_one_program(self):
        files = [path for path in self.root.rglob("*") if path.is_file()]
        self.assertLess(sum(path.stat().st_size for path in files), LIMIT_BYTES)
        programs = [path.name for path in files if os.access(path, os.X_OK) and ".so" not in path.name]
        self.assertEqual(programs, ["chatferry"])

    def test_it_serves_the_chat_and_knows_its_health_and_ends_in_order(self):
        port = free_port()
        variables = {"PORT": str(port), "CHATFERRY__AUTH__ALLOW_ANONYMOUS": "true"}
        command, environment = self.command(*self.entry, **variables)
        database = self.root / "data" / "chat.sqlite3"
        server = launch("the image", command, environment, ROOT, port, database, self.root.parent / "log")
        self.addCleanup(server.stop)
        server.wait_until_it_answers()
        pair = json.dumps({"participant1_id": "alice", "participant2_id": "bob"}).encode()
        address = f"{server.url}/api/chat/conversations/"
        request = urllib.request.Request(address, pair, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.assertEqual(answer.status, 201)
        self.assertEqual(f"{database.stat().st_uid}:{database.stat().st_gid}", self.user)
        health = json.loads(self.said["HEALTHCHECK"].partition("CMD ")[2])
        self.assertEqual(self.run_inside(*health, **variables).returncode, 0)
        server.process.terminate()
        self.assertEqual(server.process.wait(timeout=60), 0)
        self.assertNotEqual(self.run_inside(*health, **variables).returncode, 0)

    def test_nothing_can_be_written_beside_the_volume(self):
        outside = self.run_inside(*self.entry, "migrate", DATABASE_URL="sqlite:///chat.sqlite3")
        self.assertNotEqual(outside.returncode, 0)
        self.assertIn("/chat.sqlite3", outside.stderr)
        self.assertFalse((self.root / "chat.sqlite3").exists())

    def test_strangers_are_let_in_only_if_that_is_asked_for(self):
        refused = self.run_inside(*self.entry, PORT=str(free_port()))
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("auth.allow_anonymous", refused.stderr)


class Text(unittest.TestCase):
    """The Dockerfile as text."""

    def test_the_linter_has_nothing_to_say(self):
        linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
        if not linter:
            self.skipTest("hadolint is not installed")
        done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()
