"""Clients of the old protocol. Each writes down what it did and saw, one JSON object a line: all that the checker reads.

| event | fields beside `t`, seconds since the run began |
|---|---|
| client | `client`, `kind`: socket or rest; `conversation` of a socket. The first line |
| connect | `n`: number of the connection, `server` |
| history | `n`, `messages`: id, sender and content of each |
| frame | `n`, `id`, `sender`, `content`: a message shown live |
| read, typed | `n`, `message` and `user`; `user`: shown live |
| error | `n`, `text`: an error frame, or anything else that was not expected |
| sent, marked, typing | `n`, `sender` and `number`; `message` and `user`; `user`: written before it is handed to the socket |
| close | `n`, `code`, `reason`; a connection that never opened has no code |
| end | `n`, `open`: what was so when the run ended. The last line |
| posting, posted | `sender`, `number`, `server`, `conversation`; `number`, `status`, `id` (of a 201) |
| versions | `n`, `messages`: id and content of each that is known when the run ends: of a client of chatferry.v1 |
| acked, unanswered | `n`, `number`, `id`; `n`, `number`, when the run ended: of a client of chatferry.v1 (native.py) |
| refused, attached | `n`, `number`, `id`, `tries`; `n`, `number`, `file`, `sha256`: of a member of a group (groups.py) |
| group | `n`, `group`: as it is known when the run ends |
| unread, file | `server`, `user`, `count`; `file`, `sha256` of what is served, when the run ends |
| putting, put | `message`, `user`, `server`; `user`, `status` |
| asking, listed | `server`, `conversation`; `conversation`, `since`: when it was asked, `messages` as in a history |

A message's content begins with `SENDER/NUMBER`, which nothing else has.
"""

import asyncio
import json
import time

import httpx
import websockets

#: Of messages: most are short.
FILLERS = ("", "", "", "", " 안녕하세요 😀", ' \\"quoted\\"\n', " " + "x" * 200, " " + "긴" * 3000)
#: Share of what sockets do that marks a message as read, and that types.
MARKS, TYPES = 0.10, 0.05
BACKOFF_S = (0.1, 2.0)
#: A browser is patient; what hangs is let go by its link in the end.
OPEN_S = 60
REST_TIMEOUT_S = 10
#: Recent messages that may be marked as read.
RECENT = 20


class Log:
    """One client's file. `began` is when the run did, by the monotonic clock."""

    def __init__(self, directory, name, began):
        self._file = (directory / f"client-{name}.jsonl").open("w", encoding="utf-8")
        self._began = began
        self._is_over = False

    def now(self):
        return round(time.monotonic() - self._began, 4)

    def note(self, event, **fields):
        if self._is_over:
            return
        self._file.write(json.dumps({"t": self.now(), "e": event, **fields}, ensure_ascii=False) + "\n")
        # The tables are read next: what is shown from here on may be stored after that.
        self._is_over = event == "end"

    def close(self):
        self._file.close()


def said(message):
    return message["id"], message["sender_id"], message["content"]


class Speaker:
    """Numbers what it says."""

    def __init__(self, name, rng):
        self.name, self.rng = name, rng
        self.number = 0
        self.marks = 0
        self.recent = []

    def next_content(self):
        self.number += 1
        return f"{self.name}/{self.number}{self.rng.choice(FILLERS)}"

    def next_reader(self):
        """A reader's id used once, so that a receipt shows which client asked for it."""
        self.marks += 1
        return f"{self.name}/r{self.marks}"

    def remember(self, message_id):
        self.recent = [*self.recent[1 - RECENT :], message_id]


class Socket(Speaker):
    """A socket that comes back whenever it ends, mostly to the same process."""

    subprotocols = None
    #: Without one, that of its conversation.
    path = None

    def __init__(self, name, conversation, home, ports, pause_s, log, rng):
        super().__init__(name, rng)
        self.conversation, self.home, self.ports, self.pause_s, self.log = conversation, home, ports, pause_s, log
        #: Number of the connection, and what it has seen since it was opened; None without one.
        self.connection, self.seen = 0, None
        self.server = home
        self.speaks = True
        log.note("client", client=name, kind="socket", conversation=conversation)

    async def run(self):
        backoff = BACKOFF_S[0]
        while True:
            self.connection += 1
            if await self.connect():
                backoff = BACKOFF_S[0]
            await asyncio.sleep(backoff * self.rng.uniform(0.5, 1))
            backoff = min(2 * backoff, BACKOFF_S[1])

    async def connect(self):
        """Returns true if the history came before the connection ended."""
        n, opened = self.connection, False
        self.server = self.other() if self.rng.random() < 0.1 else self.home
        self.log.note("connect", n=n, server=self.server)
        path = self.path or f"ws/chat/{self.conversation}/"
        url = f"ws://127.0.0.1:{self.ports[self.server]}/{path}"
        options = {"max_size": None, "max_queue": None, "ping_interval": None, "compression": None}
        try:
            options["subprotocols"] = self.subprotocols
            async with websockets.connect(url, open_timeout=OPEN_S, close_timeout=1, **options) as socket:
                self.begin(socket)
                async for text in socket:
                    self.take(n, json.loads(text))
                    if self.seen is not None and not opened:
                        opened = True
                        speaking = asyncio.create_task(self.speak(socket, n))
                self.log.note("close", n=n, code=socket.close_code, reason=socket.close_reason)
        except websockets.ConnectionClosed as error:
            self.log.note("close", n=n, code=error.rcvd.code if error.rcvd else 1006, reason=str(error))
        except (OSError, websockets.WebSocketException, TimeoutError, EOFError) as error:
            self.log.note("close", n=n, code=None, reason=f"{type(error).__name__}: {error}")
        finally:
            self.seen = None
            self.leave()
            if opened:
                speaking.cancel()
        return opened

    def begin(self, socket):
        """A connection is open."""

    def leave(self):
        """A connection has ended, or was none."""

    def other(self):
        """Another process of the same kind: what Django and Chatferry promise differs."""
        kind = self.home.partition("-")[0]
        return self.rng.choice([server for server in self.ports if server.startswith(kind)])

    def take(self, n, frame):
        kind = frame.get("type")
        if kind == "conversation_history":
            self.log.note("history", n=n, messages=[said(message) for message in frame["messages"]])
            self.seen = {message["id"] for message in frame["messages"]}
        elif kind == "chat_message":
            message_id, sender, content = said(frame["message"])
            self.log.note("frame", n=n, id=message_id, sender=sender, content=content)
            self.seen.add(message_id)
            self.remember(message_id)
        elif kind == "message_read":
            self.log.note("read", n=n, message=frame["message_id"], user=frame["user_id"])
        elif kind == "typing_status":
            self.log.note("typed", n=n, user=frame["user_id"])
        else:
            self.log.note("error", n=n, text=frame.get("error", str(frame)))

    async def speak(self, socket, n):
        try:
            while True:
                await asyncio.sleep(self.rng.expovariate(1 / self.pause_s))
                if self.speaks:
                    await self.say(socket, n)
        except (OSError, websockets.WebSocketException):
            # The reader notes the end.
            pass

    async def say(self, socket, n):
        await socket.send(json.dumps(self.next_frame(n)))

    def is_waiting(self):
        """Whether something that it has said is not answered."""
        return False

    def next_frame(self, n):
        chance = self.rng.random()
        if chance < MARKS and self.recent:
            message_id, user = self.rng.choice(self.recent), self.next_reader()
            self.log.note("marked", n=n, message=message_id, user=user)
            return {"type": "mark_as_read", "message_id": message_id, "user_id": user}
        if chance > 1 - TYPES:
            user = f"{self.name}/t{self.log.now()}"
            self.log.note("typing", n=n, user=user)
            return {"type": "typing", "user_id": user, "is_typing": True}
        content = self.next_content()
        self.log.note("sent", n=n, sender=self.name, number=self.number)
        return {"type": "chat_message", "sender_id": self.name, "content": content}

    def finish(self):
        self.log.note("end", n=self.connection, open=self.seen is not None)


class Rest(Speaker):
    """Asks one process, one request after the other."""

    def __init__(self, name, conversations, server, port, pause_s, log, rng):
        super().__init__(name, rng)
        self.conversations, self.server, self.pause_s, self.log = conversations, server, pause_s, log
        self.base = f"http://127.0.0.1:{port}/api/chat"
        self.speaks, self.busy = True, False
        log.note("client", client=name, kind="rest")

    async def run(self):
        async with httpx.AsyncClient(timeout=REST_TIMEOUT_S) as http:
            while True:
                await asyncio.sleep(self.rng.expovariate(1 / self.pause_s))
                if not self.speaks:
                    continue
                self.busy = True
                chance, conversation = self.rng.random(), self.rng.choice(self.conversations)
                if chance < 0.7:
                    await self.post(http, conversation)
                elif chance < 0.85 and self.recent:
                    await self.put(http)
                else:
                    await self.list(http, conversation)
                self.busy = False

    async def post(self, http, conversation):
        content = self.next_content().strip()
        number = self.number
        self.log.note("posting", sender=self.name, number=number, server=self.server, conversation=conversation)
        body = {"sender_id": self.name, "content": content}
        status, answer = await self.ask(http, "POST", f"conversations/{conversation}/messages/send/", body)
        if status == 201:
            self.remember(answer["id"])
        self.log.note("posted", number=number, status=status, id=answer["id"] if status == 201 else None)

    async def put(self, http):
        message_id, user = self.rng.choice(self.recent), self.next_reader()
        self.log.note("putting", message=message_id, user=user, server=self.server)
        status, _ = await self.ask(http, "PUT", f"messages/{message_id}/read/", {"user_id": user})
        self.log.note("put", user=user, status=status)

    async def list(self, http, conversation):
        since = self.log.now()
        self.log.note("asking", server=self.server, conversation=conversation)
        status, answer = await self.ask(http, "GET", f"conversations/{conversation}/messages/")
        if status == 200:
            self.log.note("listed", conversation=conversation, since=since, messages=[said(m) for m in answer])

    async def ask(self, http, method, path, body=None):
        """The status, 0 without an answer, and the answer."""
        try:
            response = await http.request(method, f"{self.base}/{path}", json=body)
            return response.status_code, response.json() if response.is_success else None
        except (httpx.HTTPError, ValueError):
            return 0, None

    def finish(self):
        self.log.note("end", n=0, open=True)
