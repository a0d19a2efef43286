"""A group in a run: members who say things, some with a file, and an owner who takes members out and back in.

Members are clients of chatferry.v1 (native.py) in one group, whose tables are beside Django's. A member that was taken out is
refused, and what it was refused must not be stored; it says the next thing anyway, as it may be back by then. The last
`group` frame that a client has of each version is compared with the tables at the end, and so are the counts of what is unread
and the files.
"""

import asyncio
import hashlib
import uuid

import httpx
import native
import record
import shell

NAME, OWNER = "chaos", "owner"
#: On each process of ours.
MEMBERS = 2
#: Share of messages with a file.
FILES = 0.15
#: Share of what the owner does that changes the group; the rest it says.
CHANGES = 0.5
#: Names of members who say nothing, so that a group is never too small.
SILENT = ["silent0", "silent1"]
REST_TIMEOUT_S = 10


def names(plan):
    """The members who speak, each with its process."""
    homes = [server for server in plan.chatferries for _ in range(MEMBERS)]
    return [(f"g{place}", server) for place, server in enumerate(homes)]


async def make(fleet):
    """Makes the group; returns its id."""
    base = f"http://127.0.0.1:{fleet.ports[fleet.plan.chatferries[0]]}/api/v1"
    members = [name for name, _ in names(fleet.plan)] + SILENT
    async with httpx.AsyncClient(timeout=30) as http:
        body = {"name": NAME, "members": members}
        answer = await http.post(f"{base}/conversations?user={OWNER}", json=body)
        if answer.status_code != 201:
            raise shell.Failed(f"no group could be made: {answer.status_code} {answer.text[:2000]}")
        return answer.json()["id"]


class Member(native.Native):
    """A client in the group. It uploads by REST what it sends."""

    path = "ws/chat/"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.group, self.uploading = None, set()
        #: How often each message was handed to a socket, by id.
        self.tries = {}

    def on_subscribed(self, n, frame):
        super().on_subscribed(n, frame)
        self.on_group(n, frame)

    def on_group(self, n, frame):
        if self.group is None or frame["group"]["version"] > self.group["version"]:
            self.group = frame["group"]

    def on_nack(self, n, frame):
        if frame["code"] not in ("not_member", "no_conversation"):
            super().on_nack(n, frame)
            return
        self.under_way = None
        if frame["id"] in self.outbox:
            _, number = self.outbox.pop(frame["id"])
            tries = self.tries.get(frame["id"])
            self.log.note("refused", n=n, number=number, id=frame["id"], tries=tries)
        self.pump(n)

    def is_waiting(self):
        return bool(self.outbox or self.uploading)

    def pump(self, n):
        before = self.under_way
        super().pump(n)
        if self.under_way and self.under_way is not before:
            self.tries[self.under_way] = self.tries.get(self.under_way, 0) + 1

    async def say(self, socket, n):
        if self.rng.random() >= FILES:
            await super().say(socket, n)
            return
        # Of a content of its own, so that none can be taken for another.
        data = f"{self.name} {self.log.now()}\n".encode() * self.rng.randint(1, 2000)
        task = asyncio.create_task(self.say_with_file(data))
        self.uploading.add(task)
        task.add_done_callback(self.uploading.discard)

    async def say_with_file(self, data):
        file = await self.upload(data)
        if file is None:
            return
        n, content = self.connection, self.next_content().strip()
        own = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        self.log.note("attached", n=n, number=self.number, file=file, sha256=hashlib.sha256(data).hexdigest())
        self.log.note("sent", n=n, sender=self.name, number=self.number)
        frame = {"type": "send", "id": own, "sender": self.name, "content": content, "attachments": [file]}
        self.outbox[own] = frame, self.number
        self.pump(n)

    async def upload(self, data):
        """The id of a file that is kept; None without an answer."""
        path = f"attachments?user={self.name}&name={record.FILE}.txt"
        headers = {"Content-Type": "application/octet-stream"}
        try:
            async with httpx.AsyncClient(timeout=REST_TIMEOUT_S) as http:
                url = f"http://127.0.0.1:{self.ports[self.server]}/api/v1/{path}"
                answer = await http.post(url, content=data, headers=headers)
                return answer.json()["id"] if answer.status_code == 201 else None
        except (httpx.HTTPError, ValueError):
            return None

    def finish(self):
        if self.seen is not None:
            self.log.note("group", n=self.connection, group=self.group)
        super().finish()


class Owner(Member):
    """Takes a member out, and takes it in again; gives the group another name."""

    #: Names of the members that it does this to.
    everybody = ()

    async def say(self, socket, n):
        if self.rng.random() >= CHANGES:
            await super().say(socket, n)
            return
        away = self.away()
        if away and self.rng.random() < 0.7:
            self.ask(type="invite", user=OWNER, members=[self.rng.choice(away)])
        elif self.rng.random() < 0.2:
            self.ask(type="rename", user=OWNER, name=f"{NAME} {self.log.now()}")
        else:
            here = [it["user"] for it in self.group["members"] if it["user"].startswith("g")]
            if here:
                member = self.rng.choice(here)
                # Half of them leave by themselves.
                way = {"type": "remove", "member": member, "user": OWNER}
                self.ask(**(way if self.rng.random() < 0.5 else {"type": "leave", "user": member}))

    def away(self):
        here = {it["user"] for it in self.group["members"]}
        return [name for name in self.everybody if name not in here]


async def count(fleet, group, log):
    """Writes down what each process says of the end: unread messages of each member, and the files of messages."""
    log.note("client", client="counter", kind="counter", conversation=group)
    async with httpx.AsyncClient(timeout=30) as http:
        for server in fleet.plan.chatferries:
            base = f"http://127.0.0.1:{fleet.ports[server]}/api/v1"
            for user in [OWNER, *SILENT]:
                answer = await http.get(f"{base}/unread?conversations={group}&user={user}")
                counts = answer.json().get("counts", [])
                log.note("unread", server=server, user=user, count=counts[0]["unread"] if counts else None)
        rows = await asyncio.to_thread(fleet.database.rows, "SELECT id FROM chatferry_attachments")
        for (file,) in rows:
            file = str(uuid.UUID(str(file)))
            answer = await http.get(f"{base}/attachments?ids={file}&user={OWNER}")
            links = answer.json().get("attachments", [])
            digest = None
            if links:
                content = await http.get(base.removesuffix("/api/v1") + links[0]["url"])
                digest = hashlib.sha256(content.content).hexdigest() if content.is_success else content.status_code
            log.note("file", file=file, sha256=digest)
    log.note("end", n=0, open=True)


def outdated(member, rows):
    """A group that is not as in the tables. `rows` are users and roles."""
    known = {(it["user"], it["role"]) for it in member.group["members"]} if member.group else set()
    return [f"{member.name} knows other members"] if known != rows else []

