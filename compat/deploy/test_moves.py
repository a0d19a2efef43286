"""Whole moves with the samples of this folder: `python -m unittest discover -s compat/deploy`.

Needs the packages of compat/reference/requirements.txt, nginx, haproxy and redis-server (a test without its program is
skipped), and a chatferry binary (CHATFERRY_BINARY, else target/release or target/debug).
"""

import asyncio
import json
import re
import time
import unittest
import urllib.request

from fronts import Haproxy, Nginx
from pair import PATIENCE_S, Pair, ask, directory, needed, open_socket, redis
from wire import TEXT, frame_bytes

# So many that some are on either side of any share.
CONVERSATIONS = 40
DJANGO, CHATFERRY = "chat_django", "chat_chatferry"


class Move:
    """One run through all shares and back. A subclass names the front."""

    front = None

    def setUp(self):
        needed(self, self.front.program)
        self.pair = Pair(self)
        proxy = directory(self)
        self.proxy = self.front(proxy, *self.pair.ports()).start()
        self.addCleanup(self.proxy.stop)
        self.api = f"{self.proxy.url}/api/chat/conversations/"
        self.sent = []

    def test_a_move_and_back(self):
        ids = [self.create(number) for number in range(CONVERSATIONS)]
        asyncio.run(self.move(ids))
        self.assertEqual(self.pair.stored(), sorted(self.sent))

    def test_a_side_that_falls_over_is_replaced_by_the_other(self):
        ids = [self.create(number) for number in range(CONVERSATIONS)]
        self.proxy.set_percent(50)
        sides = [ask(f"{self.api}{id}/")[1] for id in ids]
        self.assertEqual(set(sides), {DJANGO, CHATFERRY})
        self.pair.chatferry.stop()
        for id in ids:
            self.assertEqual(ask(f"{self.api}{id}/")[0], 200)
            url = f"{self.api}{id}/messages/send/"
            self.assertEqual(ask(url, {"sender_id": "a", "content": id})[0], 201)
        self.assertEqual(self.pair.stored(), sorted(ids))

    def create(self, number):
        status, _, answer = ask(self.api, {"participant1_id": f"a{number}", "participant2_id": f"b{number}"})
        self.assertEqual(status, 201)
        return answer["id"]

    async def move(self, ids):
        # Open through everything, on Django: a change of the share must not end it.
        patient, side = await open_socket(self.proxy, ids[0])
        self.assertEqual(side, DJANGO)
        await patient.until_probe(PATIENCE_S)
        moved = set()
        for percent in (0, 10, 50, 100):
            await asyncio.to_thread(self.proxy.set_percent, percent)
            now = {id for id in ids if await self.side_of(id) == CHATFERRY}
            self.assertLessEqual(moved, now, "a conversation went back although the share grew")
            self.assertLess(abs(len(now) - len(ids) * percent / 100), 14, f"{len(now)} at {percent} %")
            self.assertTrue(percent not in (0, 100) or len(now) == len(ids) * percent / 100)
            for id in (*sorted(now)[:2], *sorted(set(ids) - now)[:2]):
                await self.chat(id, CHATFERRY if id in now else DJANGO)
            moved = now
        self.assertEqual((await patient.until_probe(PATIENCE_S))[1], "open")
        await patient.abort()
        await self.without_django(ids)
        self.assertEqual({await self.side_of(id) for id in ids}, {DJANGO})
        await self.chat(ids[1], DJANGO)

    async def side_of(self, conversation):
        status, side, _ = await asyncio.to_thread(ask, f"{self.api}{conversation}/messages/")
        self.assertEqual(status, 200)
        return side

    async def chat(self, conversation, side):
        """Two sockets of one conversation on the side they belong to: each hears each message once."""
        clients = [await open_socket(self.proxy, conversation) for _ in range(2)]
        self.assertEqual({served for _, served in clients}, {side})
        for client, _ in clients:
            await client.until_probe(PATIENCE_S)
        content = f"message {len(self.sent)}"
        self.sent.append(content)
        frame = {"type": "chat_message", "sender_id": "a", "content": content}
        await clients[0][0].send(frame_bytes(TEXT, json.dumps(frame).encode()))
        for client, _ in clients:
            texts, state = await client.until_probe(PATIENCE_S)
            heard = [json.loads(text)["message"]["content"] for text in texts if '"chat_message"' in text]
            self.assertEqual((heard, state), ([content], "open"))
        for client, _ in clients:
            await client.abort()
        _, served, messages = await asyncio.to_thread(ask, f"{self.api}{conversation}/messages/")
        self.assertEqual((served, messages[-1]["content"]), (side, content))

    async def without_django(self, ids):
        """Stopped, all of the chat goes on; started again, Django takes everything back."""
        self.pair.django.stop()
        await self.chat(ids[0], CHATFERRY)
        status, _, _ = await asyncio.to_thread(ask, self.api, {"participant1_id": "late", "participant2_id": "later"})
        self.assertEqual(status, 201)
        self.pair.restart_django()
        # Until the front has found that it is there again.
        await asyncio.to_thread(self.proxy.set_percent, 0)
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(self.is_back, ids[0]):
                await asyncio.sleep(0.2)

    def is_back(self, conversation):
        """Whether Django itself serves what is its own: while it is away, Chatferry stands in for it."""
        before = self.reads_of_chatferry()
        status, side, _ = ask(f"{self.api}{conversation}/")
        self.assertEqual(status, 200)
        return side == DJANGO and self.reads_of_chatferry() == before

    def reads_of_chatferry(self):
        """How many details of conversations it has answered."""
        with urllib.request.urlopen(f"{self.pair.chatferry.url}/metrics", timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        line = r'(?m)^chatferry_rest_requests_total\{route="conversation",method="GET",status="200"\} (\d+)'
        return sum(map(int, re.findall(line, text)))


class WithNginx(Move, unittest.TestCase):
    front = Nginx

    def test_a_shadow_asks_both_and_shows_one(self):
        conversation = self.create(0)
        self.proxy.set_percent(0, sampled=100)
        before = self.reads_of_chatferry()
        for _ in range(5):
            self.assertEqual(ask(f"{self.api}{conversation}/")[1], DJANGO)
        ask(f"{self.api}{conversation}/messages/send/", {"sender_id": "a", "content": "only once"})
        # Nobody waits for its answers.
        deadline = time.monotonic() + PATIENCE_S
        while self.reads_of_chatferry() - before < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.reads_of_chatferry() - before, 5)
        self.assertEqual(self.pair.stored(), ["only once"])

    def test_a_shadow_does_not_change_who_serves(self):
        ids = [self.create(number) for number in range(CONVERSATIONS)]
        self.proxy.set_percent(50)
        alone = [ask(f"{self.api}{id}/")[1] for id in ids]
        self.proxy.set_percent(50, sampled=100)
        self.assertEqual([ask(f"{self.api}{id}/")[1] for id in ids], alone)
        self.assertEqual(set(alone), {DJANGO, CHATFERRY})


class WithHaproxy(Move, unittest.TestCase):
    front = Haproxy


class OnRedis(unittest.TestCase):
    """With channels_redis a conversation may have sockets on both sides."""

    TASK = """
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
event = {{"type": "chat.message", "message": {{"content": "from a task"}}}}
async_to_sync(get_channel_layer().group_send)("chat_{id}", event)
"""

    def setUp(self):
        needed(self, "nginx")
        self.pair = Pair(self, REDIS_URL=redis(self))
        self.proxy = Nginx(directory(self), *self.pair.ports()).start()
        self.addCleanup(self.proxy.stop)

    def test_old_and_new_sockets_hear_each_other_and_tasks(self):
        api = f"{self.proxy.url}/api/chat/conversations/"
        _, _, made = ask(api, {"participant1_id": "a", "participant2_id": "b"})
        asyncio.run(self.talk(made["id"]))
        self.assertEqual(self.pair.stored(), ["one", "two"])

    async def talk(self, id):
        old, side = await open_socket(self.proxy, id)
        self.assertEqual(side, DJANGO)
        await old.until_probe(PATIENCE_S)
        await asyncio.to_thread(self.proxy.set_percent, 100)
        new, side = await open_socket(self.proxy, id)
        self.assertEqual(side, CHATFERRY)
        await new.until_probe(PATIENCE_S)
        for sender, content in ((old, "one"), (new, "two")):
            frame = {"type": "chat_message", "sender_id": "a", "content": content}
            await sender.send(frame_bytes(TEXT, json.dumps(frame).encode()))
            for client in (old, new):
                self.assertEqual(await self.heard(client), content)
        await asyncio.to_thread(self.pair.as_a_task, self.TASK.format(id=id))
        for client in (old, new):
            self.assertEqual(await self.heard(client), "from a task")
        for client in (old, new):
            self.assertEqual((await client.until_probe(PATIENCE_S))[0], [], "something came twice")
            await client.abort()

    async def heard(self, client):
        """The next message; the typing of the other's probes is passed over."""
        while True:
            kind, text = await asyncio.wait_for(client.events.get(), PATIENCE_S)
            self.assertEqual(kind, "message")
            frame = json.loads(text)
            if frame["type"] == "chat_message":
                return frame["message"]["content"]


if __name__ == "__main__":
    unittest.main()
