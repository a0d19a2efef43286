"""The wheel in an empty environment, and a newcomer's first hour: a new project, the tutorial's chat, one command.

CHATFERRY_BINARY names the program, PIP a pip that installs for other environments. Django, Channels and the socket
client are those of this Python.
"""

import asyncio
import os
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import unittest.mock
import urllib.error
import urllib.request
from pathlib import Path

import websockets

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "kit")]

import backend  # noqa: E402
import tutorial  # noqa: E402
from servers import clean_environment, free_port, tied  # noqa: E402

#: Ends a wait for something that must come, on a machine that is full.
PATIENCE_S = 120


def run(*command, cwd=None, **environment):
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=clean_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} failed:\n{done.stdout[-3000:]}")
    return done.stdout


class WheelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="chatferry-wheel-")
        cls.addClassCleanup(directory.cleanup)
        cls.directory = Path(directory.name)
        cls.venv = cls.directory / "venv"
        run(sys.executable, "-m", "venv", "--without-pip", cls.venv)
        cls.python = cls.venv / "bin" / "python"
        options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
        binary = os.environ["CHATFERRY_BINARY"]
        run(os.environ["PIP"], "--python", cls.python, "install", *options, HERE, CHATFERRY_BINARY=binary)

    def test_the_program_and_both_packages_are_there(self):
        version = run(self.venv / "bin" / "chatferry", "--version")
        self.assertIn(backend.version(), version)
        found = run(self.python, "-c", "import chatferry_compat, chatferry_worker; print(chatferry_worker.__file__)")
        self.assertIn(str(self.venv), found)
        listed = run(self.python, "-c", "import importlib.metadata as m; print(*m.requires('chatferry'), sep='\\n')")
        self.assertIn("Django>=4.2", listed.splitlines())

    def test_the_same_parts_make_the_same_wheel(self):
        program = self.directory / "program"
        program.write_text("of a test", encoding="utf-8")
        made = []
        with unittest.mock.patch.dict(os.environ, CHATFERRY_BINARY=str(program)):
            for name in ("one", "two"):
                place = self.directory / name
                place.mkdir()
                made.append((place / backend.build_wheel(place)).read_bytes())
        self.assertEqual(*made)

    def test_the_tutorials_chat_is_served_by_one_command(self):
        borrowed = Path(sysconfig.get_paths()["purelib"])
        packages = next((self.venv / "lib").glob("python3*")) / "site-packages"
        (packages / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
        place = self.directory / "project"
        place.mkdir()
        path = os.pathsep.join((str(self.venv / "bin"), os.environ["PATH"]))
        run(self.python, "-m", "django", "startproject", "mysite", place)
        tutorial.write(place)
        run(self.python, "manage.py", "migrate", "--verbosity", "0", cwd=place)
        port = free_port()
        with (self.directory / "log").open("wb") as log:
            server = subprocess.Popen(
                tied(["chatferry", "host", "mysite.asgi:application", "--set", f"server.bind=127.0.0.1:{port}"]),
                cwd=place,
                env=clean_environment(PATH=path),
                stdout=log,
                stderr=log,
            )
        try:
            asyncio.run(asyncio.wait_for(self.newcomer(f"127.0.0.1:{port}", server), PATIENCE_S))
        except BaseException:
            print((self.directory / "log").read_text(encoding="utf-8", errors="replace")[-3000:], file=sys.stderr)
            raise
        finally:
            server.terminate()
            server.wait()

    async def newcomer(self, address, server):
        while await asyncio.to_thread(status, f"http://{address}/readyz") != 200:
            self.assertIsNone(server.poll())
            await asyncio.sleep(0.1)
        page = await asyncio.to_thread(read, f"http://{address}/chat/lobby/")
        self.assertIn('"lobby"', page)
        self.assertIn("Django administration", await asyncio.to_thread(read, f"http://{address}/admin/login/"))
        url = f"ws://{address}/ws/chat/lobby/"
        origin = f"http://{address}"
        async with (
            websockets.connect(url, origin=origin, proxy=None) as one,
            websockets.connect(url, origin=origin, proxy=None) as two,
        ):
            for sender, text in ((one, "hello"), (two, "안녕")):
                await sender.send(f'{{"message": "{text}"}}')
                for socket in (one, two):
                    self.assertEqual(tutorial.message_in(await socket.recv()), text)


def read(url):
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


if __name__ == "__main__":
    unittest.main()
