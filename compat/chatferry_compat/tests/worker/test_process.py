"""A worker with the consumers of compat/consumers, beside a Chatferry that is played here."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

from support import PACKAGE, clean_environment

sys.path.insert(0, str(PACKAGE))

from chatferry_worker import wire

CONSUMERS = PACKAGE.parent / "consumers"
PATIENCE_S = 60
WELCOME = {
    "version": 1,
    "worker": 3,
    "prefix": "specific.ferry!",
    "capacity": 5,
    "expiry": 60,
    "group_expiry": 86400,
}


def scope(path):
    return {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "headers": [[b"host", b"localhost"]],
        "query_string": b"",
        "client": ["127.0.0.1", 1],
        "server": ["127.0.0.1", 2],
        "subprotocols": [],
    }


class Ferry:
    """The other end of the wire, for one worker."""

    def __init__(self, directory):
        self.path = str(Path(directory) / "workers.sock")
        self.joined = asyncio.get_running_loop().create_future()
        self.buffer = bytearray()

    async def start(self, *command, **environment):
        self.server = await asyncio.start_unix_server(self._join, self.path)
        self.worker = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            env=clean_environment(
                CHATFERRY_HOST_SOCKET=self.path,
                PYTHONPATH=os.pathsep.join((str(CONSUMERS), str(PACKAGE))),
                DJANGO_SETTINGS_MODULE="project.settings",
                **environment,
            ),
            stderr=asyncio.subprocess.PIPE,
        )
        self.reader, self.writer = await asyncio.wait_for(self.joined, PATIENCE_S)
        kind, _, body = await self.any()
        self.say(wire.WELCOME, 0, wire.pack(WELCOME))
        assert kind == wire.HELLO, kind
        return wire.unpack(body)

    def _join(self, reader, writer):
        self.joined.set_result((reader, writer))

    def say(self, kind, subject, body=b""):
        self.writer.write(wire.message(kind, subject, body))

    async def any(self):
        head = await asyncio.wait_for(self.reader.readexactly(wire.HEAD.size), PATIENCE_S)
        length, kind, subject = wire.HEAD.unpack(head)
        return kind, subject, await self.reader.readexactly(length - wire.COUNTED)

    async def until(self, wanted):
        """The messages up to the first of a kind, as names and bodies."""
        found = []
        while True:
            kind, subject, body = await self.any()
            found.append((kind, subject, body))
            if kind == wanted:
                return found

    async def open(self, number, path):
        """Opens a socket. Returns the class that serves it, and everything after that."""
        self.say(wire.OPEN, number, wire.pack(scope(path)))
        served = None
        while True:
            kind, _, body = await self.any()
            if kind == wire.CLASS:
                served = wire.unpack(body)
            if kind in (wire.DONE, wire.ENDED):
                return served
            if kind in (wire.GROUP_ADD, wire.GROUP_SEND):
                self.say(wire.ANSWER, _)

    async def stop(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
        _, errors = await asyncio.wait_for(self.worker.communicate(), PATIENCE_S)
        self.server.close()
        return errors.decode()


class WorkerTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.ferry = Ferry(self.directory.name)

    async def start(self, **environment):
        return await self.ferry.start("-m", "chatferry_worker", "project.asgi:application", **environment)

    async def test_a_worker_greets_and_ends_with_the_connection(self):
        hello = await self.start()
        self.assertEqual(hello["version"], wire.VERSION)
        self.assertEqual(hello["application"], "project.asgi:application")
        self.assertEqual(hello["layer"], "channels_redis.core.RedisChannelLayer")
        await self.ferry.stop()
        self.assertEqual(self.ferry.worker.returncode, 0)

    async def test_the_management_command_is_a_worker_too(self):
        manage = str(CONSUMERS / "project" / "manage.py")
        hello = await self.ferry.start(manage, "chatferry_worker")
        self.assertEqual(hello["application"], "project.asgi.application")
        # An app of the project has asked for the layer before the command was there.
        kind = await self.ferry.open(5, "/ws/early/")
        self.assertEqual((kind["parked"], kind["why"]), (True, ""))
        self.assertEqual([event["text"] for event in await self.say(5, b"a")], ["a"])
        await self.ferry.stop()

    async def test_nothing_of_daphne_twisted_or_uvicorn_is_imported(self):
        script = (
            "import sys; from chatferry_worker import worker; worker.prepare();"
            "worker.load('project.asgi:application');"
            "print(sorted({'daphne', 'twisted', 'uvicorn', 'autobahn'} & {it.split('.')[0] for it in sys.modules}))"
        )
        path = os.pathsep.join((str(CONSUMERS), str(PACKAGE)))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, env=clean_environment(PYTHONPATH=path), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        self.assertEqual(output.strip(), b"[]")

    async def test_which_classes_are_parked_and_why_others_are_not(self):
        await self.start()
        served = {}
        for number, path in enumerate(
            ("echo", "sync-echo", "room/a", "task", "own-call", "counting", "listening", "other-layer", "shouting", "their-layer"), 1
        ):
            kind = await self.ferry.open(number, f"/ws/{path}/")
            served[path] = kind and (kind["parked"], kind["why"], kind["once"])
        await self.ferry.stop()
        self.assertEqual(served["echo"], (True, "", []))
        self.assertEqual(served["sync-echo"], (True, "", []))
        self.assertEqual(served["room/a"], (True, "", ["chat_message"]))
        self.assertEqual(served["task"], (False, "Task starts tasks", []))
        self.assertEqual(served["own-call"], (False, "it has a __call__ of its own", []))
        self.assertEqual(
            served["counting"], (False, "project.asgi.__call__ goes on after the consumer has returned", [])
        )
        self.assertEqual(served["their-layer"], (False, "its channel layer is not Chatferry's", []))
        self.assertEqual(served["other-layer"], (True, "", ["say"]))
        # The class has been told of: nothing of it is pure that could be changed on its way.
        self.assertIsNone(served["shouting"])

    async def test_one_call_at_a_time(self):
        await self.start()
        await self.ferry.open(5, "/ws/goodbye/a/")
        self.ferry.say(wire.TEXT_IN, 5, b"slow")
        self.ferry.say(wire.TEXT_IN, 5, b"quick")
        self.ferry.say(wire.CLOSED, 5, wire.pack(4001))
        kinds = [kind for kind, _, _ in await self.ferry.until(wire.ENDED)]
        self.assertEqual(kinds, [wire.DONE, wire.DONE, wire.ENDED])
        await self.ferry.open(6, "/ws/notes/a/")
        self.ferry.say(wire.TEXT_IN, 6, b"3")
        (*_, (_, _, text), _) = await self.ferry.until(wire.DONE)
        self.assertEqual(text, b'["slow", "quick", "disconnect 4001"]')
        await self.ferry.stop()

    async def sleep(self, number):
        """Asks for the state of a socket. Returns the kind of the answer, and its body."""
        self.ferry.say(wire.SLEEP, number)
        while True:
            kind, _, body = await self.ferry.any()
            if kind in (wire.STATE, wire.REFUSED):
                return kind, body

    async def wake(self, number, state):
        """Wakes a state. Returns the last message of the answer."""
        self.ferry.say(wire.WAKE, number, state)
        while True:
            kind, _, body = await self.ferry.any()
            if kind in (wire.DONE, wire.ENDED, wire.REFUSED):
                return kind, body

    async def say(self, number, text):
        """A frame, and what is sent for it."""
        self.ferry.say(wire.TEXT_IN, number, text)
        sent = []
        while True:
            kind, subject, body = await self.ferry.any()
            if kind == wire.DONE:
                return sent
            if kind == wire.TEXT:
                sent.append(json.loads(body))
            if kind == wire.GROUP_SEND:
                self.ferry.say(wire.ANSWER, subject)
                sent.append(wire.unpack(wire.unpack(body)[1]))

    async def test_a_state_travels_to_another_worker(self):
        await self.start()
        await self.ferry.open(5, "/ws/keeper/a/")
        [before] = await self.say(5, b'"a"')
        await self.ferry.open(6, "/ws/sync-keeper/")
        first = await self.say(6, b"1")
        kept = {number: await self.sleep(number) for number in (5, 6)}
        self.assertEqual([kind for kind, _ in kept.values()], [wire.STATE] * 2)
        # It is none of this worker's any more.
        self.ferry.say(wire.CLOSED, 5, wire.pack(1001))
        self.ferry.say(wire.TEXT_IN, 5, b'"b"')
        self.ferry.say(wire.PING, 0)
        self.assertEqual([kind for kind, _, _ in await self.ferry.until(wire.PONG)], [wire.PONG])
        await self.ferry.stop()
        self.ferry = Ferry(self.directory.name)
        await self.start()
        for number, (_, state) in kept.items():
            self.assertEqual(await self.wake(number, state), (wire.DONE, b""))
        [after] = await self.say(5, b'"b"')
        self.assertEqual((after["from"], after["number"]), (before["from"], 2))
        second = await self.say(6, b"2")
        self.assertEqual((first[0][:4], second[0][:4]), ([1, 1, "AnonymousUser", True], [2, 2, "AnonymousUser", True]))
        self.assertNotEqual(first[0][4], second[0][4], "another process")
        self.ferry.say(wire.CLOSED, 5, wire.pack(4001))
        while True:
            kind, request, _ = await self.ferry.any()
            if kind == wire.ENDED:
                break
            self.ferry.say(wire.ANSWER, request)
        await self.ferry.open(7, "/ws/notes/keeper_a/")
        (noted,) = await self.say(7, b"1")
        self.assertEqual(noted, ["2 2 4001"])
        await self.ferry.stop()

    async def test_a_state_that_cannot_be_written_leaves_the_socket_where_it_is(self):
        await self.start()
        await self.ferry.open(5, "/ws/locked/")
        for _ in range(2):
            kind, why = await self.sleep(5)
            self.assertEqual((kind, wire.unpack(why)), (wire.REFUSED, "lock: asyncio.locks.Lock cannot be written"))
        self.assertEqual((await self.say(5, b"1"))[0][0], 1)
        await self.ferry.open(6, "/ws/own-call/")
        self.assertEqual(await self.sleep(6), (wire.REFUSED, wire.pack("it is awake")))
        errors = await self.ferry.stop()
        told = "project.states.Locked cannot hibernate: lock: asyncio.locks.Lock cannot be written"
        self.assertEqual(errors.count(told), 1, errors)

    async def test_a_consumer_that_something_else_holds_is_not_written_down(self):
        await self.start()
        for number, path in enumerate(("registered/a", "signalled", "helped"), 5):
            await self.ferry.open(number, f"/ws/{path}/")
        self.ferry.say(wire.TEXT_IN, 7, b"3600")
        await self.ferry.until(wire.DONE)
        for number in (5, 6, 7):
            kind, why = await self.sleep(number)
            self.assertEqual(kind, wire.REFUSED, number)
            self.assertIn("something else holds it", wire.unpack(why))
        self.assertEqual(await self.say(5, b'"a"'), [{"from": "a"}])
        self.assertEqual(await self.say(6, b"1"), [1])
        await self.ferry.stop()

    async def test_the_language_and_the_time_zone_of_a_socket_travel_and_other_variables_keep_it_here(self):
        await self.start()
        await self.ferry.open(5, "/ws/translated/")
        self.ferry.say(wire.TEXT_IN, 5, b"de")
        (_, _, before), _ = await self.ferry.until(wire.DONE)
        kind, state = await self.sleep(5)
        self.assertEqual((before.decode(), kind), ("Montag Asia/Seoul", wire.STATE))
        self.assertEqual(await self.wake(5, state), (wire.DONE, b""))
        for _ in range(2):
            self.ferry.say(wire.BINARY_IN, 5, b"x")
            (_, _, after), _ = await self.ferry.until(wire.DONE)
            self.assertEqual(after, before)
        self.assertEqual((await self.sleep(5))[0], wire.STATE)
        await self.ferry.open(6, "/ws/in-context/")
        self.ferry.say(wire.TEXT_IN, 6, b"a")
        await self.ferry.until(wire.DONE)
        self.assertEqual(await self.sleep(6), (wire.REFUSED, wire.pack("the context variable 'said' is set")))
        await self.ferry.stop()

    async def test_a_state_that_does_not_fit_is_refused_and_held_by_nobody(self):
        await self.start()
        await self.ferry.open(5, "/ws/keeper/a/")
        _, body = await self.sleep(5)
        state = wire.unpack(body)

        def at(path):
            return wire.pack({**state, "scope": {**state["scope"], "path": path}})

        for body, why in (
            (at("/ws/echo/"), "its route leads to project.consumers.Echo now"),
            (at("/ws/own-call/"), "project.consumers.OwnCall stays awake"),
            (at("/ws/nothing/"), "No route found"),
            (at("/ws/function/"), "a receive of its own"),
            (wire.pack({**state, "version": 9}), "another version"),
            (wire.pack({**state, "attributes": {"user": ["model", "auth", "nothing", "default", 1]}}), "nothing"),
            (wire.pack({**state, "attributes": {"user": ["unknown"]}}), "unknown"),
        ):
            kind, refused = await self.wake(5, body)
            self.assertEqual(kind, wire.REFUSED, why)
            self.assertIn(why, wire.unpack(refused))
        # It may be woken after all.
        self.assertEqual((await self.wake(5, wire.pack(state)))[0], wire.DONE)
        await self.ferry.stop()

    async def test_an_exception_is_logged_with_path_and_number_and_ends_the_socket_once(self):
        await self.start()
        await self.ferry.open(5, "/ws/raise/receive/")
        self.ferry.say(wire.TEXT_IN, 5, b"a")
        found = await self.ferry.until(wire.ENDED)
        self.assertEqual([(kind, body) for kind, _, body in found], [(wire.TEXT, b"before"), (wire.ENDED, b"\xc3")])
        self.ferry.say(wire.CLOSED, 5, wire.pack(1006))
        self.ferry.say(wire.TEXT_IN, 5, b"a")
        self.ferry.say(wire.PING, 0)
        self.assertEqual([kind for kind, _, _ in await self.ferry.until(wire.PONG)], [wire.PONG])
        errors = await self.ferry.stop()
        self.assertIn("in receive (<socket 5 '/ws/raise/receive/'>)", errors)
        self.assertIn("Traceback", errors)

    async def test_channels_of_a_worker_have_a_capacity_and_end_with_their_socket(self):
        await self.start()
        await self.ferry.open(5, "/ws/burst/a/")
        self.ferry.say(wire.EVENT, 5, wire.pack({"type": "number", "number": 7}))
        (_, _, text), *_ = await self.ferry.until(wire.DONE)
        self.assertEqual(text, b"7")
        await self.ferry.open(6, "/ws/ask/")
        self.ferry.say(wire.TEXT_IN, 6, b"1")
        asked = []
        while len(asked) < 4:
            kind, request, body = await self.ferry.any()
            if kind == wire.SEND:
                channel, event = wire.unpack(body)
                self.assertTrue(channel.startswith("specific.ferry!w3."))
                number = int(channel.rsplit(".", 1)[1])
                for _ in range(20):
                    self.ferry.say(wire.CHANNEL, number, event)
            asked.append(kind)
            self.ferry.say(wire.ANSWER, request)
        self.assertEqual(asked, [wire.GROUP_ADD, wire.GROUP_SEND, wire.SEND, wire.GROUP_DISCARD])
        (*_, (_, _, text), _) = await self.ferry.until(wire.DONE)
        self.assertEqual(text, b"[2, 2]")
        await self.ferry.stop()

    async def test_errors_of_the_layer_are_raised_where_channels_raises_them(self):
        await self.start()
        await self.ferry.open(5, "/ws/direct/")
        self.ferry.say(wire.TEXT_IN, 5, b'{"text": "a"}')
        (*_, (_, request, _)) = await self.ferry.until(wire.SEND)
        self.ferry.say(wire.ANSWER, request, wire.pack({"kind": "full", "text": "x"}))
        await self.ferry.until(wire.ENDED)
        self.assertIn("ChannelFull", await self.ferry.stop())

    async def test_junk_ends_the_worker(self):
        await self.start()
        self.ferry.writer.write(b"\xff" * 100)
        await asyncio.wait_for(self.ferry.worker.wait(), PATIENCE_S)
        self.assertIn("has failed", await self.ferry.stop())


if __name__ == "__main__":
    unittest.main()
