"""A crowd chats in many rooms while workers are replaced and killed, with hibernation.

    python compat/consumers/crowd.py --binary target/release/chatferry [--sockets 2000 --reloads 10 --kills 5]

A replacement may close no socket, and a kill none that hibernates. Whoever is never cut off hears what every other one of
its room who is not says: all of it, once and in order. Needs redis-server and the packages of compat/reference.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import signal
import time

import websockets
from deployed import OPTIONS, Deployed, main
from player import Socket
from run import HIBERNATED

#: Members of a room.
ROOM = 20
#: Handshakes under way at once.
OPENING = 50


class Member:
    """One client, with its sockets one after the other."""

    def __init__(self, crowd, room, place):
        self.crowd = crowd
        self.path = f"/ws/keeper/{room}/"
        self.room = room
        self.name = str(place)
        #: What it has said, and heard from each: numbers of messages.
        self.said = 0
        self.heard = collections.defaultdict(list)
        #: What its consumer has counted.
        self.counted = []
        #: Close codes of its sockets.
        self.closed = []
        self.socket = None

    async def open(self):
        opened = await self.crowd.player.open(self.path)
        if not isinstance(opened, Socket):
            return False
        await opened.read()
        self.socket = opened
        self.listener = asyncio.create_task(self.listen(opened))
        return True

    async def listen(self, socket):
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in socket.client:
                told = json.loads(message)
                name, number = told["event"]["content"].split()
                self.heard[name].append(int(number))
                self.counted.append(told["heard"])
        self.closed.append(await socket.end())
        # What comes to another socket is not counted: only those who are never cut off are compared.
        self.counted = []

    async def say(self):
        self.said += 1
        await self.socket.send(json.dumps(f"{self.name} {self.said}"))

    async def talk(self):
        """Talks until the crowd is to be quiet; comes back when it has been cut off."""
        chance = random.Random(self.name)
        while not self.crowd.quiet.is_set():
            if self.listener.done() and not await self.open():
                await asyncio.sleep(0.1)
                continue
            with contextlib.suppress(websockets.ConnectionClosed):
                await self.say()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.crowd.quiet.wait(), chance.random() * 2 * OPTIONS.every)


def rooms(members):
    """The members of each room."""
    found = collections.defaultdict(list)
    for member in members:
        found[member.room].append(member)
    return found.values()


def kept(members):
    return [member for member in members if not member.closed]


class CrowdTest(Deployed):
    async def crowd(self):
        members = [Member(self, place // ROOM, place) for place in range(OPTIONS.sockets)]
        doors = asyncio.Semaphore(OPENING)

        async def open_one(member):
            async with doors:
                self.assertTrue(await member.open())

        await asyncio.gather(*map(open_one, members))
        self.members = members
        return members

    async def talk(self, members, meanwhile):
        """Lets members talk while something is done, and waits until all has been heard."""
        self.quiet.clear()
        talkers = [asyncio.create_task(member.talk()) for member in members]
        await meanwhile()
        self.quiet.set()
        await asyncio.gather(*talkers)
        for room in rooms(members):
            await self.until(f"room {room[0].room} has heard all", lambda room=room: self.has_heard_all(room))

    @staticmethod
    def has_heard_all(room):
        # Which are kept may change: a worker's end cuts sockets off for seconds.
        return all(len(member.heard[other.name]) >= other.said for member in kept(room) for other in kept(room))

    async def hear(self, members):
        """Waits until some have said something."""
        before = sum(member.said for member in members)
        enough = before + len(members) // 4
        await self.until("the crowd talks", lambda: sum(member.said for member in members) >= enough)

    async def replace(self):
        for number in range(OPTIONS.reloads):
            await self.hear(self.members)
            before, began = {*self.site.workers()}, time.monotonic()
            await self.reload()
            await self.until("the old ones end", lambda old=before: old.isdisjoint(self.site.workers()))
            print(f"replacement {number + 1}: {time.monotonic() - began:.1f} s", flush=True)

    async def kill(self):
        chance = random.Random(1)
        for _ in range(OPTIONS.kills):
            await self.hear([member for member in self.members if not member.room % 2])
            victim = chance.choice(self.site.workers())
            os.kill(victim, signal.SIGKILL)
            whole = lambda old=victim: old not in (now := self.site.workers()) and len(now) == 2  # noqa: E731
            await self.until("another worker is started", whole)
            await self.until("it has joined", lambda: self.metric("chatferry_host_workers ") == 2)

    def check(self, members):
        """Compares what those who were never cut off have heard with what they have said. Returns the frames."""
        for room in map(kept, rooms(members)):
            for member in room:
                self.assertEqual(member.counted, list(range(1, len(member.counted) + 1)), member.name)
                for other in room:
                    said = list(range(1, other.said + 1))
                    self.assertEqual(member.heard[other.name], said, (member.name, other.name))
        return sum(len(member.counted) for member in kept(members))

    async def test_a_crowd_chats_while_workers_are_replaced_and_killed(self):
        self.quiet = asyncio.Event()
        await self.start("host.capacity=100000", "host.hibernate=true")
        members = await self.crowd()
        await self.talk(members, self.replace)
        self.assertEqual(len(kept(members)), len(members))
        print(f"{len(members)} sockets, {OPTIONS.reloads} replacements: {self.check(members)} frames, none closed")
        # Rooms with odd numbers are quiet and hibernate; the others talk on.
        quiet = [member for member in members if member.room % 2]
        loud = [member for member in members if not member.room % 2]
        await self.until("all hibernate", lambda: self.metric(HIBERNATED) == len(members))
        await self.talk(loud, self.kill)
        self.assertEqual(len(kept(quiet)), len(quiet))
        cut = collections.Counter(code for member in loud for code in member.closed)
        self.assertLessEqual(set(cut), {"closed 1012"})
        # What has been kept is there: the quiet ones go on as if nothing had been.
        await self.talk(quiet, self.once_each(quiet))
        print(f"{OPTIONS.kills} kills: {cut.total()} sockets that were awake are cut off, {self.check(members)} frames")
        self.assertEqual(len(kept(quiet)), len(quiet))
        self.assertEqual(self.metric("chatferry_host_dropped_events_total"), 0)
        for member in members:
            member.listener.cancel()

    def once_each(self, members):
        async def wait():
            before = [member.said for member in members]
            said = lambda: all(it.said > number for it, number in zip(members, before))  # noqa: E731
            await self.until("everybody has said something", said)

        return wait


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--sockets", type=int, default=80)
    arguments.add_argument("--reloads", type=int, default=2)
    arguments.add_argument("--kills", type=int, default=1)
    arguments.add_argument("--every", type=float, default=2, help="seconds between two messages of one member")
    main(arguments)
