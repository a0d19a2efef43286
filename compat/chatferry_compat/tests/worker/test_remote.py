"""A worker that joins by TCP: it proves that it knows the secret, and serves only who does."""

import asyncio
import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from support import PACKAGE, clean_environment
from test_process import CONSUMERS, PATIENCE_S, WELCOME, Ferry, scope
from test_wire import VECTORS, vectors

from chatferry_worker import proof, wire

SECRET = "0123456789abcdef0123456789abcdef"
NONCE = bytes(range(32))


def known(end):
    lines = VECTORS.read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if line.startswith(f"proof {end} ")]
    return bytes.fromhex(line.split(" ")[2])


class ProofTest(unittest.TestCase):
    def test_both_proofs_are_those_of_the_vectors(self):
        [data] = [data for kind, data in vectors("chatferry") if kind == "CHALLENGE"]
        [(_, _, body)] = wire.messages(bytearray(data))
        with mock.patch("os.urandom", return_value=bytes(range(32, 64))):
            made = proof.Proof(SECRET.encode(), wire.unpack(body)["nonce"])
        self.assertEqual(made.hello(), {"nonce": bytes(range(32, 64)), "proof": known("worker")})
        made.check(known("chatferry"))
        for wrong in (known("worker"), known("chatferry")[:31], b"", None):
            with self.assertRaises(proof.ProofError):
                made.check(wrong)

    def test_a_challenge_that_is_none_is_refused(self):
        for wrong in (b"", b"x" * 31, "x" * 32, None):
            with self.assertRaises(proof.ProofError):
                proof.Proof(SECRET.encode(), wrong)


class Remote(Ferry):
    """The other end over TCP."""

    def __init__(self):
        super().__init__("")

    async def start(self, *options, **environment):
        self.server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        path = os.pathsep.join((str(CONSUMERS), str(PACKAGE)))
        self.worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chatferry_worker", "project.asgi:application"),
            *("--connect", f"127.0.0.1:{port}", *options),
            env=clean_environment(PYTHONPATH=path, DJANGO_SETTINGS_MODULE="project.settings", **environment),
            stderr=asyncio.subprocess.PIPE,
        )

    async def joined_by(self):
        self.reader, self.writer = await asyncio.wait_for(self.joined, PATIENCE_S)

    async def challenge(self):
        """Asks for a proof. Returns the greeting."""
        self.say(wire.CHALLENGE, 0, wire.pack({"nonce": NONCE}))
        kind, _, body = await self.any()
        assert kind == wire.HELLO, kind
        return wire.unpack(body)

    async def refused(self):
        """What the worker has written when it has ended by itself."""
        _, errors = await asyncio.wait_for(self.worker.communicate(), PATIENCE_S)
        if self.joined.done():
            self.writer.close()
        self.server.close()
        return errors.decode()


class RemoteTest(unittest.IsolatedAsyncioTestCase):
    def signed(self, end, hello):
        made = proof.Proof(SECRET.encode(), NONCE)
        made.both = NONCE + hello["nonce"]
        return made._sign(end)

    async def test_a_worker_proves_itself_and_serves(self):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "secret"
            path.write_text(f"{SECRET}\n", encoding="utf-8")
            ferry = Remote()
            await ferry.start("--secret-file", str(path))
            await ferry.joined_by()
            hello = await ferry.challenge()
        self.assertEqual(hello["proof"], self.signed(proof.WORKER, hello))
        ferry.say(wire.WELCOME, 0, wire.pack({**WELCOME, "proof": self.signed(proof.HOST, hello)}))
        self.assertEqual((await ferry.open(5, "/ws/echo/"))["name"], "project.consumers.Echo")
        self.assertNotIn("Error", await ferry.stop())

    async def test_it_serves_nobody_who_does_not_know_the_secret(self):
        for wrong in ("its own proof", "none", "no challenge", "a socket before"):
            ferry = Remote()
            await ferry.start(CHATFERRY_HOST_SECRET=SECRET)
            await ferry.joined_by()
            if wrong == "no challenge":
                ferry.say(wire.WELCOME, 0, wire.pack(WELCOME))
            elif wrong == "a socket before":
                ferry.say(wire.OPEN, 5, wire.pack(scope("/ws/echo/")))
            else:
                hello = await ferry.challenge()
                given = {"proof": hello["proof"]} if wrong == "its own proof" else {}
                ferry.say(wire.WELCOME, 0, wire.pack({**WELCOME, **given}))
            self.assertIn("The connection to Chatferry has failed", await ferry.refused(), wrong)

    async def test_a_worker_that_is_turned_away_says_so(self):
        ferry = Remote()
        await ferry.start(CHATFERRY_HOST_SECRET="another secret of thirty-two bytes")
        await ferry.joined_by()
        await ferry.challenge()
        ferry.writer.close()
        self.assertIn("before this worker had joined", await ferry.refused())

    async def test_it_does_not_start_without_a_secret(self):
        for environment in ({}, {"CHATFERRY_HOST_SECRET": "short"}):
            ferry = Remote()
            await ferry.start(**environment)
            self.assertIn("--connect needs host.secret", await ferry.refused())
            self.assertEqual(ferry.worker.returncode, 1)


if __name__ == "__main__":
    unittest.main()
