"""The servers of a run: Chatferry and Django processes, one database, Redis, and a link for each pair of them that talk."""

import asyncio
import contextlib
import json
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import databases
import redises
import shell
from links import Link
from processes import Process
from servers import PATIENT, REFERENCE, free_port, migrate_reference

START_S = 120
DRAIN_S = 2
#: Of the log of a Chatferry process.
SWEPT = re.compile(r"found before an event of them came .*messages=(\d+)")
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


class Fleet:
    """`complaints` are faults that no client sees: a process that ended by itself, one that panicked."""

    def __init__(self, plan, binary, directory):
        self.plan, self.binary, self.directory = plan, Path(binary).resolve(), directory
        self.began, self.plan_from_s = time.monotonic(), 0
        self.complaints = []
        self.events = (directory / "events.jsonl").open("w", encoding="utf-8")
        #: When processes ended, which the checker reads too.
        self.ends = (directory / "ends.jsonl").open("w", encoding="utf-8")
        self.database = databases.KINDS[plan.database](directory)
        self.redis = redises.Group(plan, directory)
        self.ports = {server: free_port() for server in plan.servers}
        self.links = self._links()
        self.clocks = {server: directory / f"{server}.clock" for server in plan.chatferries}
        self.processes = {server: self._process(server) for server in plan.servers}

    def _links(self):
        targets = self.redis.targets() | {"database": self.database.port} | self.ports
        links = {}
        # The Sentinel's come last: their answers name the others.
        for name in self.plan.links:
            user, far = name.split(":")
            rewrites = self.redis.rewrites(far, lambda host, user=user: links[f"{user}:{host}"].port)
            links[name] = Link(name, targets[far], rewrites)
        return links

    def _process(self, server):
        def port_of(far):
            return self.links[f"{server}:{far}"].port

        database = self.database.url(port_of("database") if self.database.port else None)
        hosts = self.redis.urls(port_of)
        if server in self.plan.djangos:
            backend = {"redis": "core", "redis_pubsub": "pubsub"}[self.plan.backend]
            environment = {"DATABASE_URL": database, "REDIS_URL": hosts[0], "REDIS_BACKEND": backend}
            address = ("-b", "127.0.0.1", "-p", str(self.ports[server]))
            command = [sys.executable, "-m", "daphne", *PATIENT, *address, "service.asgi:application"]
            environment |= {"PYTHONPATH": str(REFERENCE)}
            return Process(server, command, self.directory, environment)
        settings = {
            "SERVER__BIND": f"127.0.0.1:{self.ports[server]}",
            "SERVER__DRAIN_S": str(DRAIN_S),
            # One that is started while the database is away must not give up.
            "STORE__WAIT_S": "600",
            "LAYER__BACKEND": self.plan.backend,
            "LAYER__HOSTS": ",".join(hosts),
            # So that what came by REST is held to the same as the rest.
            "REST__BROADCAST": "true",
            "ATTACHMENTS__PLACE": str(self.directory / "files"),
            "ATTACHMENTS__KEY": "a key of all processes of this run",
        }
        environment = {f"CHATFERRY__{name}": value for name, value in settings.items()} | {"DATABASE_URL": database}
        if self.plan.steps_clocks and FAKETIME:
            self.clocks[server].write_text("+0\n")
            environment |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.clocks[server]),
                "FAKETIME_CACHE_DURATION": "1",
                # Only the time of day is wrong.
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return Process(server, [self.binary, "serve"], self.directory, environment)

    @contextlib.asynccontextmanager
    async def started(self):
        """Starts everything. What has started ends with the block, the last first, even if the rest does not start."""
        async with contextlib.AsyncExitStack() as ends:
            ends.enter_context(self.events)
            ends.enter_context(self.ends)
            for part in (self.database, self.redis):
                ends.callback(part.end)
                await part.start()
            for link in self.links.values():
                await link.open()
                ends.push_async_callback(link.close)
            await asyncio.to_thread(self.migrate)
            for process in self.processes.values():
                ends.callback(process.end)
            await self.start_processes()
            yield

    async def start_processes(self):
        for server in self.plan.chatferries:
            self.processes[server].start()
            await self.is_ready(server, "/readyz")
        for server in self.plan.djangos:
            self.processes[server].start()
        for server in self.plan.djangos:
            await self.is_ready(server, "/api/chat/users/nobody/conversations/")

    def migrate(self):
        """Makes the tables: by Chatferry, and Django's notes about them."""
        url = self.database.url(self.database.port)
        shell.run(self.binary, "migrate", cwd=self.directory, DATABASE_URL=url)
        if self.plan.djangos:
            migrate_reference(url)

    async def is_ready(self, server, path):
        for _ in range(10 * START_S):
            if self.processes[server].exit_code() is not None:
                break
            if await status(self.ports[server], path) == 200:
                return
            await asyncio.sleep(0.1)
        raise shell.Failed(f"{server} does not start: {self.processes[server].log_end()}")

    def begin(self):
        """The clock of all logs starts. Those of the processes have the time of day, which is noted."""
        self.began = time.monotonic()
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.note("began", now)
        self.ends.write(json.dumps({"began": now}) + "\n")

    def ready(self):
        """The clock of the plan starts: its faults are made on sockets that are open."""
        self.plan_from_s = self.now()

    def now(self):
        return time.monotonic() - self.began

    async def at(self, seconds):
        """Waits for a time of the plan."""
        await asyncio.sleep(max(0, self.plan_from_s + seconds - self.now()))

    def note(self, event, text):
        self.events.write(json.dumps({"t": round(self.now(), 2), "e": event, "text": text}) + "\n")
        self.events.flush()

    def ended(self, server):
        self.ends.write(json.dumps({"t": round(self.now(), 4), "server": server}) + "\n")
        self.ends.flush()

    def complain(self, text):
        self.note("complaint", text)
        self.complaints.append(text)

    async def watch(self):
        """Starts a process again that ended by itself, as systemd would, and complains of it."""
        while True:
            await asyncio.sleep(0.2)
            for process in self.processes.values():
                if process.up and process.exit_code() is not None:
                    self.ended(process.name)
                    self.complain(
                        f"{process.name} ended by itself with {process.exit_code()}: {process.log_end()[-300:]}"
                    )
                    process.start()

    def read_logs(self):
        """Complains of panics. Returns the messages that no event came for, which only a sweep of the tables found."""
        swept = 0
        for server in self.plan.chatferries:
            for line in self.processes[server].log.read_text(errors="replace").splitlines():
                if "panicked" in line:
                    self.complain(f"{server}: {line}")
                if found := SWEPT.search(line):
                    swept += int(found[1])
        return swept


async def status(port, path):
    """Of a GET; 0 without an answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            line = await asyncio.wait_for(reader.readline(), 10)
            return int(line.split()[1]) if line.startswith(b"HTTP/") else 0
        finally:
            writer.close()
    except (OSError, TimeoutError):
        return 0
