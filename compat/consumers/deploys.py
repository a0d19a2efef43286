"""Replaces and kills workers under sockets that talk: none may be closed, and no frame lost, doubled or reordered.

    python compat/consumers/deploys.py --binary target/release/chatferry [--reloads 5]

The project is a copy whose source is changed between two of its versions, as a deploy does. Needs redis-server and the
packages of compat/reference.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from deployed import OPTIONS, Copy, Deployed, main
from run import until_ready
from servers import free_port


class DeploysTest(Deployed):
    async def test_a_room_talks_on_while_its_workers_are_replaced(self):
        # What waits on a slow machine must not be dropped, as Channels does past its capacity.
        await self.start("host.capacity=100000")
        # Handshakes from before the first worker had joined.
        refused = self.metric("chatferry_host_failures_total")
        sockets = [await self.open("/ws/keeper/a/") for _ in range(OPTIONS.sockets)]
        sockets += [await self.open("/ws/shouted-keeper/a/") for _ in range(2)]
        greetings = [json.loads((await socket.read())[0].lower()) for socket in sockets]
        seen = [[] for _ in sockets]
        talking = True
        chance = random.Random(1)

        async def listen(place):
            async for message in sockets[place].client:
                seen[place].append(json.loads(message.lower()))

        async def talk(place):
            number = 0
            while talking:
                number += 1
                await sockets[place].send(json.dumps(f"{place} {number}"))
                await asyncio.sleep(chance.random() * 0.5)
            return number

        async def events():
            number = 0
            while talking:
                number += 1
                event = {"type": "said", "from": "outside", "number": number, "content": "x"}
                await self.layer.group_send("keeper_a", event)
                await asyncio.sleep(0.05)
            return number

        listeners = [asyncio.create_task(listen(place)) for place in range(len(sockets))]
        talkers = [asyncio.create_task(talk(place)) for place in range(len(sockets))]
        outside = asyncio.create_task(events())
        workers = {*self.site.workers()}
        for _ in range(OPTIONS.reloads):
            await self.reload()
            await self.until("the old ones end", lambda old=workers: old.isdisjoint(self.site.workers()))
            workers = {*self.site.workers()}
        talking = False
        sent = {greeting["id"]: await talker for greeting, talker in zip(greetings, talkers)}
        sent["outside"] = await outside
        whole = sum(sent.values())
        heard_all = lambda: all(len(heard) >= whole for heard in seen)  # noqa: E731
        await self.until(f"all {whole} have been heard", heard_all)
        self.assertEqual(self.metric("chatferry_host_dropped_events_total"), 0)
        self.assertEqual(self.metric("chatferry_host_failures_total"), refused)
        for place, (greeting, heard) in enumerate(zip(greetings, seen)):
            self.assertFalse(listeners[place].done(), f"socket {place} is closed")
            self.assertEqual([it["heard"] for it in heard], list(range(1, whole + 1)), place)
            self.assertEqual({(it["id"], it["since"]) for it in heard}, {(greeting["id"], greeting["since"])})
            for sender, count in sent.items():
                numbers = [it["event"]["number"] for it in heard if it["event"]["from"] == sender]
                self.assertEqual(numbers, list(range(1, count + 1)), (place, sender))
            self.assertEqual(heard[-1]["seen"], sent[greeting["id"]])
            self.assertEqual(len({it["kinds"] for it in heard}), 1)
            self.assertGreater(len({it["process"] for it in heard}), OPTIONS.reloads, "it has moved")
        self.assertEqual(self.metric("chatferry_host_state_bytes"), 0)
        for listener in listeners:
            listener.cancel()

    async def test_a_worker_joins_by_tcp_with_the_secret_and_nobody_without(self):
        self.directory = Path(tempfile.mkdtemp(prefix="chatferry-deploys-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.site = Copy("deploys", self.directory)
        self.addCleanup(self.site.stop)
        self.site.start_redis()
        place, secret = f"127.0.0.1:{free_port()}", "0123456789abcdef0123456789abcdef"
        worker = (sys.executable, "-m", "chatferry_worker", "project.asgi:application", "--connect", place)
        settings = (f"server.bind={self.site.address}", f"host.listen={place}", f"host.secret={secret}", "host.workers=0")
        sets = [part for flag in settings for part in ("--set", flag)]
        self.site.start(OPTIONS.binary, "host", "project.asgi:application", *sets)
        await self.until("it listens", lambda: "workers may join" in self.site.log())
        self.site.start(*worker, CHATFERRY_HOST_SECRET=secret[::-1])
        await self.until("one is turned away", lambda: "before this worker had joined" in self.site.log())
        self.assertIn("it does not prove that it knows host.secret", self.site.log())
        self.site.start(*worker, CHATFERRY_HOST_SECRET=secret)
        await until_ready(self.site)
        self.assertNotIn(secret, self.site.log())

    async def test_threads_sessions_and_users_move_too(self):
        await self.start()
        socket = await self.open("/ws/sync-keeper/")
        first = await self.ask(socket, "a")
        await self.reload()
        second = await self.ask(socket, "b")
        self.assertEqual((first[:4], second[:4]), ([1, 1, "AnonymousUser", True], [2, 2, "AnonymousUser", True]))
        self.assertNotEqual(first[4], second[4])

    async def test_what_cannot_move_is_closed_and_hears_of_it(self):
        await self.start()
        locked, task, moved = [await self.open(path) for path in ("/ws/locked/", "/ws/function/", "/ws/keeper/b/")]
        await self.ask(locked, 1)
        await moved.read()
        reload = asyncio.create_task(self.reload())
        self.assertEqual(await locked.all(), ["closed 1012"])
        self.assertEqual(await task.all(), ["closed 1012"])
        await reload
        self.assertEqual((await self.ask(moved, "a"))["heard"], 1)
        self.assertIn("project.states.Locked cannot hibernate: lock: asyncio.locks.Lock", self.site.log())
        self.assertEqual(self.metric('chatferry_host_failures_total{kind="unfit"}'), 2)

    async def test_a_class_that_has_changed_keeps_its_sockets_if_their_states_fit(self):
        await self.start()
        grown, keeper = await self.open("/ws/grown/"), await self.open("/ws/keeper/c/")
        await self.ask(grown, "a")
        await keeper.read()
        received = "self.seen += 1\n        await self.send_json(["
        self.site.edit("states.py", f"{received}content, ", f"{received}'new', ")
        await self.reload()
        self.assertEqual((await self.ask(grown, "b"))[:2], ["new", 2])
        self.site.edit("states.py", "self.seen = 0\n", "self.seen = 0\n        self.room = 'a'\n")
        await self.reload()
        self.assertEqual(await grown.all(), ["closed 1012"])
        self.assertEqual((await self.ask(keeper, "a"))["heard"], 1, "another class is not touched")
        self.site.edit("asgi.py", 'path("ws/keeper/<str:room_name>/", states.Keeper.as_asgi()),', "")
        await self.reload()
        self.assertEqual(await keeper.all(), ["closed 1012"])

    async def test_a_version_that_does_not_start_changes_nothing(self):
        await self.start()
        socket = await self.open("/ws/keeper/d/")
        await socket.read()
        before = await self.ask(socket, "a")
        self.site.edit("states.py", "import asyncio\n", "import asyncio, nothing_of_the_sort\n")
        await self.reload("failed")
        after = await self.ask(socket, "b")
        self.assertEqual((after["process"], after["heard"]), (before["process"], 2))
        self.site.edit("states.py", "import asyncio, nothing_of_the_sort\n", "import asyncio\n")
        await self.reload()
        self.assertNotEqual((await self.ask(socket, "c"))["process"], before["process"])

    async def test_hibernated_sockets_do_not_notice_the_end_of_a_worker(self):
        # One, as what consumers note is in their process.
        await self.start("host.hibernate=true", workers=1)
        kept = [await self.open("/ws/keeper/e/") for _ in range(3)]
        locked = await self.open("/ws/locked/")
        before = [json.loads((await socket.read())[0])["id"] for socket in kept]
        await self.ask(kept[0], "a")
        for socket in kept[1:]:
            await socket.read()
        asleep = 'chatferry_host_level_ws_open{level="hibernated"}'
        await self.until("all hibernate", lambda: self.metric(asleep) == 3)
        self.assertGreater(self.metric("chatferry_host_state_bytes"), 0)
        for pid in self.site.workers():
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(await locked.all(), ["closed 1012"])
        await kept[0].send('"b"')
        for place, socket in enumerate(kept):
            [text] = await socket.read()
            heard = json.loads(text)
            self.assertEqual((heard["id"], heard["heard"], heard["event"]["number"]), (before[place], 2, 2))
        await self.until("all hibernate", lambda: self.metric(asleep) == 3)
        self.assertEqual(await kept[1].close(4001), "closed 1000")
        noted = await self.player.notes("keeper_e", 1)
        self.assertEqual(json.loads(noted), ["0 0 4001"])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--reloads", type=int, default=5)
    arguments.add_argument("--sockets", type=int, default=12)
    main(arguments)
