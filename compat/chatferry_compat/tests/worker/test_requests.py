"""Requests of HTTP and the lifespan of an application, beside a Chatferry that is played here."""

import asyncio
import contextlib
import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401
from test_process import PATIENCE_S, Ferry

from chatferry_worker import wire

APPLICATION = '''
import asyncio
import sys


def say(text):
    print(text, file=sys.stderr, flush=True)


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        message = await receive()
        say(message["type"])
        if MODE == "fails":
            await send({"type": "lifespan.startup.failed", "message": "no such table"})
            return
        if MODE == "ignores":
            return
        scope["state"]["pool"] = "open"
        await send({"type": "lifespan.startup.complete"})
        say((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})
        return
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            say("disconnected")
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    say(f"read {size}")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = scope["path"].encode() * int(scope["query_string"] or b"1") + str(scope.get("state")).encode()
    await send({"type": "http.response.body", "body": body})
    say("answered")
'''


def scope(path, query=b""):
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "headers": [[b"host", b"localhost"]],
        "query_string": query,
        "client": ["127.0.0.1", 1],
        "server": ["127.0.0.1", 2],
    }


class RequestsTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.ferry = Ferry(directory.name)

    async def start(self, mode=""):
        (self.directory / "served.py").write_text(f"MODE = {mode!r}\n{APPLICATION}", encoding="utf-8")
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); from chatferry_worker import place, worker;"
            "worker.main('served:application', place.chosen(None, None, None))"
        )
        return await self.ferry.start("-c", program, str(self.directory))

    async def answer(self, number):
        """The answer to a request, of which all parts are taken at once."""
        body = b""
        while True:
            kind, subject, part = await self.ferry.any()
            if kind in (wire.BODY, wire.BODY_END):
                self.assertEqual(subject, number)
                self.assertLessEqual(len(part), wire.MAX_PART)
                body += part
                self.ferry.say(wire.TAKEN_IN, number, wire.pack(max(len(part), wire.LEAST_PART)))
            if kind == wire.ENDED:
                return body

    async def test_several_requests_are_answered_at_once(self):
        await self.start()
        for number in (7, 8):
            self.ferry.say(wire.REQUEST, number, wire.pack(scope(f"/{number}/")))
        self.ferry.say(wire.BODY_END_IN, 8)
        self.assertEqual(await self.answer(8), b"/8/{'pool': 'open'}")
        self.ferry.say(wire.BODY_IN, 7, b"x" * 1000)
        self.ferry.say(wire.BODY_END_IN, 7, b"y")
        kinds = [kind for kind, _, _ in await self.ferry.until(wire.ENDED)]
        self.assertEqual(kinds, [wire.TAKEN, wire.TAKEN, wire.RESPONSE, wire.BODY_END, wire.ENDED])
        self.assertIn("read 1001", await self.ferry.stop())

    async def test_an_answer_waits_until_it_is_taken(self):
        await self.start()
        self.ferry.say(wire.REQUEST, 7, wire.pack(scope("/" * 100, b"5000")))
        self.ferry.say(wire.BODY_END_IN, 7)
        await self.ferry.until(wire.RESPONSE)
        held = [await self.ferry.any() for _ in range(2)]
        self.assertEqual([len(part) for _, _, part in held], [wire.MAX_PART, wire.MAX_PART])
        # Nothing more comes but what is asked for.
        self.ferry.say(wire.PING, 0)
        self.assertEqual((await self.ferry.any())[0], wire.PONG)
        self.ferry.say(wire.TAKEN_IN, 7, wire.pack(wire.WINDOW))
        rest = await self.answer(7)
        self.assertEqual(len(rest) + wire.WINDOW, 500_000 + len("{'pool': 'open'}"))
        await self.ferry.stop()

    async def test_a_client_that_leaves_is_a_disconnect(self):
        await self.start()
        self.ferry.say(wire.REQUEST, 7, wire.pack(scope("/")))
        self.ferry.say(wire.GONE, 7)
        await self.ferry.until(wire.ENDED)
        self.assertIn("disconnected", await self.ferry.stop())

    async def test_startup_comes_before_the_first_request_and_shutdown_after_the_last(self):
        await self.start()
        self.ferry.say(wire.REQUEST, 7, wire.pack(scope("/")))
        self.ferry.say(wire.BODY_END_IN, 7)
        await self.answer(7)
        lines = (await self.ferry.stop()).split()
        self.assertEqual(lines[0], "lifespan.startup")
        self.assertEqual(lines[-1], "lifespan.shutdown")

    async def test_an_application_without_a_lifespan_goes_on(self):
        await self.start("ignores")
        self.ferry.say(wire.REQUEST, 7, wire.pack(scope("/")))
        self.ferry.say(wire.BODY_END_IN, 7)
        self.assertEqual(await self.answer(7), b"/None")
        await self.ferry.stop()

    async def test_a_startup_that_fails_ends_the_worker_and_says_why(self):
        starting = asyncio.create_task(self.start("fails"))
        self.addAsyncCleanup(self._cancel, starting)
        while not hasattr(self.ferry, "worker"):
            await asyncio.sleep(0.01)
        _, errors = await asyncio.wait_for(self.ferry.worker.communicate(), PATIENCE_S)
        self.assertIn("the application's startup has failed: no such table", errors.decode())
        self.assertEqual(self.ferry.worker.returncode, 1)

    async def _cancel(self, task):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self.ferry.server.close()


if __name__ == "__main__":
    unittest.main()
