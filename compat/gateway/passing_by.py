#!/usr/bin/env python
"""Tries to pass by the policy through the gateway: every shape of shapes.txt, before every server that runs Django.

    passing_by.py --binary target/release/chatferry                        Daphne and uvicorn, nothing in front
    passing_by.py --binary target/release/chatferry --all                  every server, every proxy
    passing_by.py --binary target/release/chatferry --short                the same with fewer callers
    passing_by.py --binary target/release/chatferry --servers granian --places nginx-in-front -v

`auth.identity` is jwt and `auth.policy` participants; the callers are somebody without a token, somebody with a token
who takes no part, and a participant who speaks as the other. Nothing they send may reach a view or a consumer of the
chat, whichever share of the conversations Django serves. The reference runs with a mark at each of them (`watched`).
That the marks work, and that a participant and other pages do reach Django, is tried first. Then come headers of proxies
in every spelling, sent by a stranger: Django must not take the connection for an encrypted one.

Needs the packages of ../reference/requirements.txt and of requirements.txt here; nginx and haproxy for the places that
are named after them. Ends with 1 if anything got through, after a table of what did; with 3 if a server is not installed.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kit"))
sys.path.insert(0, str(HERE.parent / "deploy"))

import shapes  # noqa: E402
from fronts import program  # noqa: E402
from servers import REFERENCE, START_TIMEOUT_S, clean_environment, free_port, migrate_reference, tied  # noqa: E402

SECRET = "a secret of the tests, of more than thirty-two bytes"
# Far more than any answer takes; it ends what a busy machine or a server that does not answer would hold up.
ANSWER_S = 60
AT_ONCE = 16
DAPHNE = ("daphne", "--websocket_connect_timeout", "120", "-b", "127.0.0.1", "-p", "{port}", "watched.asgi:application")
UVICORN = ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--lifespan", "off", "--log-level", "warning")
SERVERS = {
    "daphne": DAPHNE,
    "uvicorn": (*UVICORN, "watched.asgi:application"),
    "uvicorn-h11": (*UVICORN, "--http", "h11", "--ws", "wsproto", "watched.asgi:application"),
    "gunicorn": ("gunicorn", "-b", "127.0.0.1:{port}", "--threads", "8", "--log-level", "warning", "watched.wsgi"),
    "hypercorn": ("hypercorn", "-b", "127.0.0.1:{port}", "watched.asgi:application"),
    "granian": ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "watched.asgi:application"),
    "granian-wsgi": (
        "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", "watched.wsgi:application",
    ),
}  # fmt: skip
WITHOUT_SOCKETS = ("gunicorn", "granian-wsgi")
#: `two-behind` is HAProxy between, which asks two servers by turns: the one of the trial, and another kind.
PLACES = ("nothing", "nginx-in-front", "haproxy-in-front", "nginx-between", "haproxy-between", "two-behind")

NGINX = """
worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    underscores_in_headers on;
    map $http_upgrade $hop {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{to}{path}; proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $hop; proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""
HAPROXY = """
global
    log stderr format raw daemon
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
frontend chat
    bind 127.0.0.1:{port}
    option accept-invalid-http-request
    default_backend next
backend next
    balance roundrobin
    option forwardfor
    option accept-invalid-http-response
{servers}
"""


class Unfit(Exception):
    """The trial proves nothing: something does not run, or the marks do not work."""


class Missing(Exception):
    """A program or a package is not installed."""


HTTPS = ("X-Forwarded-Proto", "https")


def claims():
    """Headers that say that the client came by TLS, in every spelling."""
    for name in ("X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Url-Scheme"):
        first, *rest = name.split("-")
        spelled = [first]
        for part in rest:
            spelled = [f"{it}{dash}{part}" for it in spelled for dash in "-_"]
        for spelling in spelled:
            for text in (spelling, spelling.upper(), spelling.lower()):
                yield text, "on" if name.endswith("Ssl") else "https"
    yield "Forwarded", "for=1.1.1.1;proto=https"


@dataclass(frozen=True)
class Caller:
    name: str
    headers: tuple
    #: The shapes that the policy refuses this caller.
    refused: object


def token(user):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    parts = ({"alg": "HS256"}, {"sub": user, "exp": int(time.time()) + 86400})
    signed = ".".join(part(json.dumps(it).encode()) for it in parts)
    return f"{signed}.{part(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"


def bearer(user):
    return (("Authorization", f"Bearer {token(user)}"),)


CALLERS = (
    Caller("nobody", (), lambda shape: True),
    Caller("stranger", bearer("carol"), lambda shape: True),
    Caller("forger", bearer("bob"), lambda shape: shape.speaks_as_alice),
)


class Trial:
    """What runs for one server; everything ends with the block."""

    def __init__(self, binary, server):
        self.binary, self.server = binary.resolve(), server
        self.processes = []

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="chatferry-gateway-")
        self.directory = Path(self.temporary.name)
        self.database = self.directory / "chat.sqlite3"
        self.marks = self.directory / "marks"
        self.marks.touch()
        try:
            migrate_reference(self.database)
            self.django = self.start_django()
            self.ids = self.make_conversation()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.temporary.cleanup()

    def start(self, name, command, port, **environment):
        log = (self.directory / f"{name}.log").open("ab")
        paths = os.pathsep.join((str(HERE), str(REFERENCE)))
        env = clean_environment(DATABASE_URL=f"sqlite://{self.database}", PYTHONPATH=paths, **environment)
        process = subprocess.Popen(tied(command), cwd=self.directory, env=env, stdout=log, stderr=log)
        self.processes.append(process)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                    return port
            except urllib.error.HTTPError:
                return port
            except OSError:
                time.sleep(0.1)
        raise Unfit(f"{name} does not start:\n{(self.directory / f'{name}.log').read_text()[-2000:]}")

    def start_django(self, server=None):
        port, server = free_port(), server or self.server
        command = [part.format(port=port) for part in SERVERS[server]]
        return self.start(f"{server}-{port}", [sys.executable, "-m", *command], port, WATCH_FILE=str(self.marks))

    def start_chatferry(self, upstream, percent, trusting):
        port = free_port()
        settings = {
            "server.bind": f"127.0.0.1:{port}",
            "server.trusted_proxies": "127.0.0.1" if trusting else "",
            # Those of other places and shares have the same SQLite file.
            "server.reuse_port": "true",
            "gateway.upstream": f"http://127.0.0.1:{upstream}",
            "gateway.rollout_percent": percent,
            "auth.identity": "jwt",
            "auth.policy": "participants",
            "auth.jwt.secret": SECRET,
            "auth.jwt.algorithms": "HS256",
            # One user asks for everything; a limit would hide what the policy lets through.
            "limits.user.requests": "100000/s",
            "limits.user.messages": "100000/s",
            "limits.user.sockets": "100000/s",
            "limits.user.conversations": "100000/s",
        }
        given = [f"--set={name}={value}" for name, value in settings.items() if value != ""]
        return self.start(f"chatferry-{percent}-{port}", [str(self.binary), "serve", *given], port)

    def start_proxy(self, name, *to, path=""):
        port, kind = free_port(), "nginx" if name.startswith("nginx") else "haproxy"
        home = self.directory / f"{name}-{port}"
        home.mkdir()
        config = home / "config"
        text = NGINX if kind == "nginx" else HAPROXY
        servers = "\n".join(f"    server s{number} 127.0.0.1:{it}" for number, it in enumerate(to))
        config.write_text(text.format(directory=home, port=port, to=to[0], path=path, servers=servers))
        command = [program("nginx"), "-p", str(home), "-e", str(home / "error.log"), "-c", str(config)]
        return self.start(f"{name}-{port}", command if kind == "nginx" else [program("haproxy"), "-db", "-f", str(config)], port)

    def front(self, place, percent):
        """The port that clients speak to."""
        upstream = self.django
        if place == "nginx-between":
            upstream = self.start_proxy(place, self.django, path="/")
        elif place == "haproxy-between":
            upstream = self.start_proxy(place, self.django)
        elif place == "two-behind":
            other = "uvicorn" if self.server == "daphne" else "daphne"
            upstream = self.start_proxy(place, self.django, self.start_django(other))
        in_front = place.endswith("in-front")
        chatferry = self.start_chatferry(upstream, percent, in_front)
        return self.start_proxy(place, chatferry) if in_front else chatferry

    def make_conversation(self):
        def ask(method, path, body):
            data, headers = json.dumps(body).encode(), {"Content-Type": "application/json", "X-Shape": "prepared"}
            request = urllib.request.Request(f"http://127.0.0.1:{self.django}{path}", data, headers, method=method)
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                return json.load(answer)["id"]

        conversation = ask("POST", shapes.CREATE, {"participant1_id": "alice", "participant2_id": "bob"})
        said = {"sender_id": "alice", "content": "a secret of alice and bob"}
        return {"conversation": conversation, "message": ask("POST", shapes.SEND.format(conversation=conversation), said)}

    def marked(self):
        """(kind, shape) of each mark so far."""
        return {tuple(line.split("\t")[:2]) for line in self.marks.read_text().splitlines()}

    def secured(self):
        """The shapes that Django took for requests over TLS."""
        marks = (line.split("\t") for line in self.marks.read_text().splitlines())
        return {shape for _, shape, path in marks if path.endswith(" secure'")}

    async def play(self, port, named):
        """Sends (name, shape, headers) of each; the statuses by name, 0 where there was no answer."""
        slots, answers = asyncio.Semaphore(AT_ONCE), {}

        async def one(name, shape, headers):
            given = (("Host", "chat.example"), ("X-Shape", name), *headers)
            async with slots:
                answers[name] = await answered(port, shape.request(self.ids, given))

        await asyncio.gather(*(one(*it) for it in named))
        return answers

    async def controls(self, port, percent):
        """The marks work, and whom the policy admits does reach Django."""
        messages, socket = (next(s for s in shapes.every() if s.name == f"{it}: as it is") for it in ("messages", "socket"))
        other = shapes.Shape("other", "GET", "/admin/login/")
        await self.play(self.django, [("direct-view", messages, ()), ("direct-socket", socket, ())])
        await self.play(self.django, [("direct-secure", shapes.Shape("secure", "GET", "/admin/login/"), (HTTPS,))])
        if "direct-secure" not in self.secured():
            raise Unfit(f"{self.server}: X-Forwarded-Proto does not make a request secure")
        await self.play(port, [("admitted-view", messages, bearer("alice")), ("admitted-socket", socket, bearer("alice"))])
        status = (await self.play(port, [("admitted-other", other, ())]))["admitted-other"]
        wanted = {("view", "direct-view"), ("other", "admitted-other")}
        wanted |= {("view", "admitted-view")} if percent == 0 else set()
        if self.server not in WITHOUT_SOCKETS:
            wanted |= {("consumer", "direct-socket")} | ({("consumer", "admitted-socket")} if percent == 0 else set())
        missing = wanted - self.marked()
        if missing or status != 200:
            raise Unfit(f"{self.server} at {percent} %: not marked: {sorted(missing)}; the admin answers {status}")


async def answered(port, request):
    """The status of the answer to these bytes."""
    writer = None
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            await writer.drain()
            line = await reader.readline()
            return int(line.split()[1])
    except (OSError, TimeoutError, IndexError, ValueError):
        return 0
    finally:
        if writer:
            writer.close()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--all", action="store_true", help="every server and every place")
    parser.add_argument("--short", action="store_true", help="without what hardly differs at 100 %%")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=["daphne", "uvicorn"])
    parser.add_argument("--places", nargs="+", choices=PLACES, default=["nothing"])
    parser.add_argument("-v", "--verbose", action="store_true", help="name each shape that got through")
    options = parser.parse_args()
    if options.all:
        options.servers, options.places = list(SERVERS), list(PLACES)
    return options


async def tried(trial, place, percent, short):
    """The shapes that reached the chat, by caller."""
    port = trial.front(place, percent)
    await trial.controls(port, percent)
    # What a named proxy says counts: in front of it a stranger's header is for it to take out.
    spoofed = {} if place.endswith("in-front") else {f"{place}-{percent}-claim-{n}": it for n, it in enumerate(claims())}
    page = shapes.Shape("page", "GET", "/admin/login/")
    await trial.play(port, [(name, page, (claim,)) for name, claim in spoofed.items()])
    named = {}
    for caller in CALLERS:
        for number, shape in enumerate(shapes.every()):
            # In short, nobody where all is served here, and those with a token where Django serves it.
            is_left_out = short and (caller.name == "nobody") != (percent == 100)
            if caller.refused(shape) and not is_left_out:
                named[f"{place}-{percent}-{caller.name}-{number}"] = (caller, shape)
    answers = await trial.play(port, [(name, shape, caller.headers) for name, (caller, shape) in named.items()])
    # What was not answered in time may still arrive.
    await trial.play(port, [(f"{place}-{percent}-last", shapes.Shape("last", "GET", "/admin/login/"), ())])
    through = {caller.name: [] for caller in CALLERS}
    through["secure"] = [(": ".join(spoofed[name]), "secure", 0) for name in spoofed.keys() & trial.secured()]
    for kind, name in trial.marked():
        if kind != "other" and name in named:
            caller, shape = named[name]
            through[caller.name].append((shape.name, kind, answers[name]))
    unanswered = sum(status == 0 for status in answers.values())
    return len(named), unanswered, through


def check_installed(options):
    kinds = {"nginx" if place.startswith("nginx") else "haproxy" for place in options.places if place != "nothing"}
    missing = [kind for kind in kinds if not program(kind)]
    behind = {*options.servers, *(("daphne", "uvicorn") if "two-behind" in options.places else ())}
    missing += [name for name in (SERVERS[it][0] for it in behind) if not importlib.util.find_spec(name)]
    if missing:
        raise Missing(f"not installed: {', '.join(sorted(set(missing)))}")


async def main():
    options = arguments()
    check_installed(options)
    if shapes.LIST.read_text(encoding="utf-8") != shapes.text():
        raise Unfit("shapes.txt is not what shapes.py writes: run it")
    print(f"{len(list(shapes.every()))} shapes", flush=True)
    print(f"| {'server':<12} | {'between':<16} | Django's | sent | unanswered | nobody | stranger | forger | secure |", flush=True)
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    got_through = False
    for server in options.servers:
        with Trial(options.binary, server) as trial:
            for place in options.places:
                for percent in (100, 0):
                    sent, unanswered, through = await tried(trial, place, percent, options.short)
                    got_through |= any(through.values())
                    counts = " | ".join(f"{len(found):>6}" for found in through.values())
                    row = f"| {server:<12} | {place:<16} | {100 - percent:>3} % | {sent} | {unanswered} | {counts} |"
                    print(row, flush=True)
                    for caller, found in through.items() if options.verbose else ():
                        for name, kind, status in sorted(found):
                            print(f"    {caller}: {name}: {kind}, {status}", flush=True)
    return int(got_through)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Missing as reason:
        print(reason, file=sys.stderr)
        sys.exit(3)
    except Unfit as reason:
        print(reason, file=sys.stderr)
        sys.exit(2)
