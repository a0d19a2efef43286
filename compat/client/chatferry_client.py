"""A client of the protocol chatferry.v1 (src/dialect/chatferry/PROTOCOL.md) for scripts and tests. Needs only `websockets`.

    async with ChatClient("wss://chat.example/ws/chat/", token=token) as chat:
        conversation = chat.join("0f8fad5b-d9cb-469f-a165-70867728950e")
        stored = await conversation.send("hello")
        async for message in conversation:
            print(message["sender"], message["content"])

What it takes care of: a message is sent again under its id until it is acknowledged or refused for good; after a lost connection
every conversation is read on from where it was; what comes twice is kept once; of two versions of a message the later one is kept,
and a deleted one does not come back.
"""

import asyncio
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

SUBPROTOCOL = "chatferry.v1"
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30
# Close codes after which coming back is in vain: the rights have ended, the identity is not good. The same in a handshake.
FINAL_CODES, FINAL_STATUSES = {1008, 4401}, {400, 401, 403, 404}
# Requests that name nobody.
ANONYMOUS = {"unsubscribe", "history", "receipts", "auth", "ping"}


def new_id():
    """Makes an id for a message: a UUID of version 7, which keeps the server's tables quick."""
    now = int(time.time() * 1000).to_bytes(6, "big")
    rest = bytearray(os.urandom(10))
    rest[0] = 0x70 | (rest[0] & 0x0F)
    rest[2] = 0x80 | (rest[2] & 0x3F)
    return str(uuid.UUID(bytes=now + bytes(rest)))


class ChatError(Exception):
    """Why something was not done. `code` is one of the protocol's, or `closed`; with `retry` the same may be done later."""

    def __init__(self, code, detail="", retry=False):
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code, self.detail, self.retry = code, detail, retry

    @classmethod
    def of(cls, frame):
        return cls(frame["code"], frame.get("detail") or "", frame.get("retry", False))


def version(message):
    """Returns what orders the versions of a message: times in UTC, with six digits of a second."""
    seconds, _, fraction = message["updated_at"].removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<6}"


class Conversation:
    """One conversation. Iterating gives each message when it is new, and again when it has changed, until the end."""

    def __init__(self, client, id, cursor):
        self.id, self.cursor, self.is_live = id, cursor, False
        # Name, version and members with roles of a group, as last heard; None in a conversation of two.
        self.group = None
        self.deleted = set()
        self._client, self._known, self._news, self._end = client, {}, asyncio.Queue(), None

    @property
    def messages(self):
        """The messages so far, in the order that all clients have."""
        return sorted(self._known.values(), key=lambda message: (version({"updated_at": message["created_at"]}), message["id"]))

    async def send(self, content, id=None, kind=None, attachments=None):
        """Sends a text until it is stored, and returns the stored message. Raises ChatError if it is refused for good."""
        frame = {"type": "send", "id": id or new_id(), "conversation": self.id, "content": content}
        more = {"kind": kind, "attachments": attachments}
        return await self._client._send(frame | {name: value for name, value in more.items() if value})

    async def edit(self, id, content):
        return (await self.request("edit", message=id, content=content))["message"]

    async def delete(self, id):
        await self.request("delete", message=id)

    async def read(self, ids):
        """Marks up to 100 messages as read."""
        await self.request("read", messages=ids)

    async def receipts(self, ids):
        """Returns who got and who read up to 100 messages."""
        return (await self.request("receipts", messages=ids))["receipts"]

    async def invite(self, users):
        """Takes users into the group, and returns it. This and the next three are for owners."""
        return (await self.request("invite", members=users))["group"]

    async def remove(self, user):
        return (await self.request("remove", member=user))["group"]

    async def rename(self, name):
        return (await self.request("rename", name=name))["group"]

    async def assign(self, user, role):
        """Gives a member the role `owner` or `member`, and returns the group."""
        return (await self.request("role", member=user, role=role))["group"]

    async def quit(self):
        """Leaves the group for good."""
        await self.request("leave")

    async def request(self, type, **members):
        """Sends any request of the protocol for this conversation, and returns its answer."""
        return await self._client.request(type, conversation=self.id, **members)

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self._news.empty() and self._end:
            raise StopAsyncIteration
        message = await self._news.get()
        if message is None:
            raise StopAsyncIteration if self._end.code == "closed" else self._end
        return message

    async def _enter(self):
        self.is_live = False
        frame = await self.request("subscribe", **({"after": self.cursor} if self.cursor else {}))
        self._learn(frame.get("group"))
        if frame["reload"]:
            self._known.clear()
        for message in frame["messages"] + frame.get("updated", []):
            self._take(message)
        for id in frame.get("deleted", []):
            self._drop(id)
        await self._read_on(frame["next"])
        # Only now: a connection that is lost before has left a hole.
        self.cursor, self.is_live = frame["cursor"], True

    async def _read_on(self, after):
        while after:
            page = await self.request("history", after=after, limit=500)
            for message in page["messages"]:
                self._take(message)
            after = page["next"]

    def _take(self, message):
        known = self._known.get(message["id"])
        if message["id"] in self.deleted or (known and version(known) >= version(message)):
            return
        self._known[message["id"]] = message
        self._news.put_nowait(message)

    def _drop(self, id):
        self.deleted.add(id)
        self._known.pop(id, None)

    def _learn(self, group):
        if group and not (self.group and self.group["version"] >= group["version"]):
            self.group = group

    def _hear(self, frame):
        match frame["type"]:
            case "group":
                self._learn(frame["group"])
            case "message":
                self._take(frame["message"])
                if self.is_live:
                    self.cursor = frame["cursor"]
            case "ack" | "updated":
                self._take(frame["message"])
            case "deleted":
                self._drop(frame["message"])
            case "changed" if self.is_live:
                self._client._later(self._read_on(self.cursor))
            case "unsubscribed" if frame.get("code"):
                self._finish(ChatError.of(frame))

    def _finish(self, error):
        self.is_live, self._end = False, error
        self._client._forget(self.id, error)
        self._news.put_nowait(None)


class ChatClient:
    """A connection that is made again whenever it is lost, from entering the context to leaving it.

    `sender` speaks where users are not identified; `token` is shown as `Authorization: Bearer`; `headers` are added to handshakes.
    """

    def __init__(self, url, sender=None, token=None, headers=None):
        self.url, self.sender = url, sender
        self.headers = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        self.hello = None
        self._socket, self._end, self._attempts, self._ref = None, None, 0, 0
        self._opened = asyncio.Event()
        self._conversations, self._asked, self._outbox, self._tasks = {}, {}, {}, set()
        # By conversation: the message that is on this connection and not acknowledged.
        self._under_way = {}

    async def __aenter__(self):
        self._runner = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_):
        self._finish(ChatError("closed", "the client was closed"))
        self._runner.cancel()
        await asyncio.gather(self._runner, *self._tasks, return_exceptions=True)

    def join(self, id, cursor=None):
        """Enters a conversation, after `cursor` if that is given."""
        if id not in self._conversations:
            self._conversations[id] = Conversation(self, id, cursor)
            if self._opened.is_set():
                self._later(self._enter(self._conversations[id]))
        return self._conversations[id]

    def leave(self, id):
        if self._conversations.pop(id, None) and self._opened.is_set():
            self._later(self._write({"type": "unsubscribe", "conversation": id}))

    async def conversations(self, **page):
        """Returns a page of the user's conversations and the cursor of the next one, or None. Takes `after` and `limit`."""
        answer = await self.request("conversations", **page)
        return answer["conversations"], answer["next"]

    async def open(self, user):
        """Returns the conversation with another user, which is made if there is none."""
        return (await self.request("open", **{"with": user}))["conversation"]

    async def create(self, name, members, key=None):
        """Makes a group of the user and others, once under the same key, and returns its conversation."""
        answer = await self.request("create", name=name, members=members, key=key or new_id())
        return answer["conversation"]

    async def unread(self, ids):
        """Returns the numbers of unread messages of up to 100 conversations, by id."""
        return {count["conversation"]: count["unread"] for count in (await self.request("unread", conversations=ids))["counts"]}

    async def upload(self, api, data, name):
        """Keeps the bytes of a file, to be sent with a message by its `id`. `api` is the address of the REST API, `https://host/api/v1/`."""
        query = urllib.parse.urlencode({"name": name} | ({"user": self.sender} if self.sender is not None else {}))
        headers = self.headers | {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(f"{api}attachments?{query}", data, headers, method="POST")

        def post():
            try:
                with urllib.request.urlopen(request) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                problem = json.loads(error.read() or "{}")
                raise ChatError(problem.get("code", "unavailable"), problem.get("detail", ""), problem.get("retry", True)) from None
            except OSError as error:
                raise ChatError("unavailable", str(error), retry=True) from None

        return await asyncio.to_thread(post)

    async def request(self, type, **members):
        """Sends any request of the protocol and returns its answer. Waits for a connection; raises ChatError if one is lost."""
        await self._opened.wait()
        if self._end:
            raise self._end
        self._ref += 1
        answer = self._asked[self._ref] = asyncio.get_running_loop().create_future()
        await self._write({"type": type, "ref": self._ref, **members})
        return await answer

    async def _send(self, frame):
        if self._end:
            raise self._end
        stored = asyncio.get_running_loop().create_future()
        self._outbox[frame["id"]] = (frame, stored)
        self._later(self._pump(frame["conversation"]))
        return await stored

    async def _pump(self, id):
        """Sends the first message that waits in a conversation: one at a time, so that they are stored in their order."""
        conversation = self._conversations.get(id)
        waiting = (frame for frame, _ in self._outbox.values() if frame["conversation"] == id)
        if conversation and conversation.is_live and id not in self._under_way and (frame := next(waiting, None)):
            self._under_way[id] = frame["id"]
            await self._write(frame)

    async def _write(self, frame):
        if self.sender is not None and frame["type"] not in ANONYMOUS:
            frame = {"sender" if frame["type"] == "send" else "user": self.sender, **frame}
        try:
            await self._socket.send(json.dumps(frame))
        except ConnectionClosed:
            pass  # The reader sees it too, and tells everybody who waits.

    async def _run(self):
        while not self._end:
            try:
                async with connect(self.url, subprotocols=[SUBPROTOCOL], additional_headers=self.headers, max_size=None) as socket:
                    if socket.subprotocol != SUBPROTOCOL:
                        return self._finish(ChatError("refused", f"the server does not speak {SUBPROTOCOL}"))
                    self._socket = socket
                    async for text in socket:
                        self._hear(json.loads(text))
                    final = socket.close_code in FINAL_CODES
            except ConnectionClosed as closed:
                final = closed.rcvd is not None and closed.rcvd.code in FINAL_CODES
            except InvalidURI as error:
                return self._finish(ChatError("refused", str(error)))
            except InvalidStatus as error:
                final = error.response.status_code in FINAL_STATUSES
            except (OSError, TimeoutError, InvalidHandshake):
                final = False
            if final:
                return self._finish(ChatError("denied", "the server does not let this client in"))
            self._lose()
            await asyncio.sleep(random.uniform(0, min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**self._attempts)))
            self._attempts = min(self._attempts + 1, 10)

    def _lose(self):
        self._opened.clear()
        self._under_way.clear()
        for conversation in self._conversations.values():
            conversation.is_live = False
        self._reject(self._asked, ChatError("unavailable", "the connection was lost", retry=True))

    def _finish(self, error):
        self._end = self._end or error
        self._opened.set()
        self._reject(self._asked, self._end)
        for conversation in list(self._conversations.values()):
            conversation._finish(self._end)
        for id in list(self._outbox):
            self._settle(id, error=self._end)

    @staticmethod
    def _reject(waiting, error):
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(error)
        waiting.clear()

    def _forget(self, id, error):
        self._conversations.pop(id, None)
        for key in [key for key, (frame, _) in self._outbox.items() if frame["conversation"] == id]:
            self._settle(key, error=error)

    def _settle(self, id, message=None, error=None):
        frame, stored = self._outbox.pop(id, (None, None))
        if frame is None:
            return
        self._under_way.pop(frame["conversation"], None)
        if not stored.done():
            stored.set_exception(error) if error else stored.set_result(message)
        self._later(self._pump(frame["conversation"]))

    def _later(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _hear(self, frame):
        answer = self._asked.pop(frame.get("ref"), None)
        if answer and not answer.done():
            answer.set_exception(ChatError.of(frame)) if frame["type"] == "error" else answer.set_result(frame)
        match frame["type"]:
            case "hello":
                self.hello = frame
                self._opened.set()
                for conversation in list(self._conversations.values()):
                    self._later(self._enter(conversation))
            case "ack":
                self._settle(frame["id"], message=frame["message"])
            case "nack" if frame.get("retry") or frame["code"] == "not_subscribed":
                self._later(self._again(frame))
            case "nack":
                self._settle(frame["id"], error=ChatError.of(frame))
        id = frame.get("conversation")
        # An answer of type `conversation` has the whole of it there.
        conversation = self._conversations.get(id) if isinstance(id, str) else None
        if conversation:
            conversation._hear(frame)

    async def _again(self, nack):
        await asyncio.sleep(nack.get("retry_after_s") or random.uniform(FIRST_DELAY_S, 2 * FIRST_DELAY_S))
        for id, message in list(self._under_way.items()):
            if message == nack["id"]:
                del self._under_way[id]
                await self._pump(id)

    async def _enter(self, conversation):
        socket = self._socket
        try:
            await conversation._enter()
        except ChatError as error:
            if not error.retry:
                return conversation._finish(error)
            await asyncio.sleep(random.uniform(FIRST_DELAY_S, 2 * FIRST_DELAY_S))
            if self._opened.is_set() and self._socket is socket:
                self._later(self._enter(conversation))
            return
        self._attempts = 0
        await self._pump(conversation.id)
