"""Joins Chatferry and serves until it is gone."""

import asyncio
import contextlib
import functools
import gc
import importlib
import logging
import os
import signal
import sys

from channels import layers

from . import parking, states, wire
from .classes import Classes
from .layer import AliasLayer, WireChannelLayer
from .lifespan import Lifespan, StartupFailed
from .link import Link
from .proof import Proof, ProofError
from .requests import Request
from .sockets import Socket

logger = logging.getLogger("chatferry.worker")

#: The channel layer that Chatferry is. Others are what the project says.
ALIAS = "default"

#: Seconds for what is under way when Chatferry is gone.
FAREWELL_S = 2

#: Seconds between two garbage collections that are asked for.
COLLECTING_S = 10

#: Headers whose values many clients have in common: sockets share them, which is a tenth of their memory.
COMMON_HEADERS = frozenset(
    b"accept accept-encoding accept-language cache-control connection host origin pragma sec-fetch-dest sec-fetch-mode "
    b"sec-fetch-site sec-websocket-extensions sec-websocket-protocol sec-websocket-version upgrade user-agent "
    b"x-forwarded-proto".split()
)

#: Most lines of the log about classes that cannot hibernate.
MAX_TOLD = 1000


class Worker:
    """One worker. `layer` has been there since before the application was imported."""

    def __init__(self, application, layer, name):
        self.application = application
        self.layer = layer
        self.name = name
        self.loop = None
        self.link = None
        #: What is to be proved over TCP, and the proof of this connection.
        self.secret = None
        self.proof = None
        self.classes = Classes()
        self.numbers = {}
        self.sockets = {}
        self.requests = {}
        self.lifespan = Lifespan(application)
        #: Classes whose states could not be written, and why.
        self.unwritten = set()
        #: When garbage was last collected, by the loop's clock.
        self.collected = -COLLECTING_S
        self.over = None
        self.hears = {
            wire.WELCOME: self._welcome,
            wire.OPEN: self._open,
            wire.TEXT_IN: self._text,
            wire.BINARY_IN: self._binary,
            wire.EVENT: self._event,
            wire.CLOSED: self._closed,
            wire.CHANNEL: self.layer.heard,
            wire.ANSWER: self.layer.answered,
            wire.FORGET: self._forget,
            wire.PING: lambda subject, body: self.link.send(wire.PONG, subject),
            wire.WAKE: self._wake,
            wire.SLEEP: self._sleep,
            wire.REQUEST: self._request,
            wire.BODY_IN: lambda number, body: self._body(number, body, True),
            wire.BODY_END_IN: lambda number, body: self._body(number, body, False),
            wire.GONE: self._gone,
            wire.TAKEN_IN: self._taken,
            wire.CHALLENGE: self._challenge,
        }

    async def run(self, place):
        self.loop = asyncio.get_running_loop()
        self.over = self.loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self._lost, None)
        await self._start()
        self.link = Link(self.loop, self._heard, self._gone_away)
        await place.connect(self.loop, lambda: self.link)
        self.secret = place.secret
        if self.secret is None:
            self._greet({})
        await self.over
        self.layer.lost()
        for socket in list(self.sockets.values()):
            socket.forget()
        for request in list(self.requests.values()):
            request.gone()
        tasks = asyncio.all_tasks() - {asyncio.current_task(), self.lifespan.task}
        if tasks:
            await asyncio.wait(tasks, timeout=FAREWELL_S)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.lifespan.stop(), FAREWELL_S)
        self.link.close()

    async def _start(self):
        """Starts the application, unless the worker is to end before it has."""
        starting = self.loop.create_task(self.lifespan.start())
        await asyncio.wait({starting, self.over}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            raise SystemExit("chatferry_worker: ended before the application had started")
        try:
            starting.result()
        except StartupFailed as error:
            raise SystemExit(f"chatferry_worker: the application's startup has failed: {error}") from None

    def serves(self, socket, kind):
        """Tells Chatferry how a socket is served."""
        number = self.numbers.get(kind)
        if number is None:
            number = self.numbers[kind] = len(self.numbers) + 1
            described = {
                "name": kind.name,
                "parked": not kind.why,
                "why": kind.why,
                "source": kind.source,
                "once": list(kind.once),
            }
            self.link.send(wire.CLASS, number, wire.pack(described))
        self.link.send(wire.SERVES, socket.number, wire.pack(number))

    def ended(self, socket):
        self.sockets.pop(socket.number, None)
        self.layer.forget(socket.channels)

    def answered(self, request):
        self.requests.pop(request.number, None)
        self.layer.forget(request.channels)

    # What Chatferry says.

    def _heard(self, kind, subject, body):
        if self.secret is not None and not self.layer.link and kind not in (wire.CHALLENGE, wire.WELCOME):
            # Over TCP nothing is done for somebody who has not proved that it knows the secret.
            raise wire.WireError("a message before the proof")
        try:
            self.hears[kind](subject, body)
        except ValueError as error:
            self.link.transport.abort()
            self._lost(error)

    def _gone_away(self, error):
        if not self.layer.link:
            logger.error("Chatferry has closed the connection before this worker had joined: its log says why")
        self._lost(error)

    def _lost(self, error):
        if error is not None:
            logger.error("The connection to Chatferry has failed: %s", error)
        if not self.over.done():
            self.over.set_result(None)

    def _greet(self, more):
        hello = {
            "version": wire.VERSION,
            "pid": os.getpid(),
            "application": self.name,
            "layer": _backend(),
            **more,
        }
        self.link.send(wire.HELLO, 0, wire.pack(hello))

    def _challenge(self, _, body):
        if self.secret is None or self.proof is not None:
            raise ProofError("a challenge that is not expected")
        self.proof = Proof(self.secret, wire.unpack(body).get("nonce"))
        self._greet(self.proof.hello())

    def _welcome(self, _, body):
        welcome = wire.unpack(body)
        if self.secret is not None:
            if self.proof is None:
                raise ProofError("Chatferry has not asked for a proof")
            self.proof.check(welcome.get("proof"))
        self.layer.join(self.link, welcome)

    def _open(self, number, body):
        self._begin(number, wire.unpack(body))

    def _begin(self, number, scope, state=None):
        _share(scope)
        socket = self.sockets[number] = Socket(self, number, scope)
        socket.open(self.application, self._whole(scope), state)

    def _whole(self, scope):
        """The scope as the application gets it."""
        scope["headers"] = [tuple(header) for header in scope["headers"]]
        scope["asgi"] = {"version": "3.0"}
        if self.lifespan.state:
            scope["state"] = self.lifespan.state.copy()
        return scope

    def _request(self, number, body):
        scope = wire.unpack(body)
        request = self.requests[number] = Request(self, number, scope)
        request.open(self.application, self._whole(scope))

    def _body(self, number, body, more):
        request = self.requests.get(number)
        if request is not None:
            request.body(body, more)

    def _gone(self, number, _):
        request = self.requests.get(number)
        if request is not None:
            request.gone()

    def _taken(self, number, body):
        request = self.requests.get(number)
        if request is not None:
            request.taken(wire.unpack(body))

    def _wake(self, number, body):
        try:
            state = states.load(body)
        except states.StateError as error:
            self.refuse(number, str(error))
        else:
            self._begin(number, state.pop("scope"), state)

    def _sleep(self, number, _):
        socket = self.sockets.get(number)
        if socket is not None:
            socket.sleep()

    def refuse(self, number, why):
        """Tells Chatferry why a state could not be written or read."""
        self.link.send(wire.REFUSED, number, wire.pack(why[:1000]))

    def collect_garbage(self):
        """Collects garbage, unless that was done a short while ago."""
        now = self.loop.time()
        if now - self.collected >= COLLECTING_S:
            self.collected = now
            gc.collect()

    def unwritten_class(self, name, why):
        """Tells the log, once for each class and reason."""
        if len(self.unwritten) < MAX_TOLD and (name, why) not in self.unwritten:
            self.unwritten.add((name, why))
            logger.warning("%s cannot hibernate: %s", name, why)

    def _hear(self, number, message):
        socket = self.sockets.get(number)
        if socket is not None:
            socket.hear(message)

    def _text(self, number, body):
        self._hear(number, {"type": "websocket.receive", "text": body.decode()})

    def _binary(self, number, body):
        self._hear(number, {"type": "websocket.receive", "bytes": body})

    def _event(self, number, body):
        # Unpacked when it is called: for each socket anew, as consumers may change it.
        self._hear(number, body)

    def _closed(self, number, body):
        socket = self.sockets.get(number)
        if socket is not None:
            socket.closed(wire.unpack(body))

    def _forget(self, number, _):
        socket = self.sockets.get(number)
        if socket is not None:
            socket.forget()


def _share(scope):
    """Lets the scope of a socket share with others what is the same in many."""
    scope["headers"] = tuple(_header(*header) for header in scope["headers"])
    scope["type"] = sys.intern(scope["type"])
    if scope["server"]:
        scope["server"][0] = sys.intern(scope["server"][0])


def _header(name, value):
    return _common_header(name, value) if name in COMMON_HEADERS else (name, value)


@functools.lru_cache(maxsize=1000)
def _common_header(name, value):
    return name, value


def _backend():
    """The project's own channel layer, for Chatferry to compare."""
    return str(layers.channel_layers.configs.get(ALIAS, {}).get("BACKEND", ""))


def _is_in_memory(manager, name):
    return manager.configs.get(name, {}).get("BACKEND") == "channels.layers.InMemoryChannelLayer"


def _take_over(made, kind, *arguments):
    """Makes Chatferry's layer of one that is there already: `manage.py` imports the apps first, and some keep it."""
    if made is None:
        return kind(*arguments)
    made.__class__ = kind
    vars(made).clear()
    made.__init__(*arguments)
    return made


def prepare():
    """Puts Chatferry's layer in the place of the project's, before any of its code asks for it."""
    make = layers.ChannelLayerManager.make_backend
    manager = layers.channel_layers
    layer = _take_over(manager.backends.get(ALIAS), WireChannelLayer)
    for name, made in manager.backends.items():
        if name != ALIAS and _is_in_memory(manager, name):
            _take_over(made, AliasLayer, layer, name)
    own = []

    def project_layer():
        if not own:
            own.append(make(manager, ALIAS))
        return own[0]

    layer.project_layer = project_layer

    def make_backend(self, name):
        if self is not manager:
            return make(self, name)
        if name == ALIAS:
            return layer
        return AliasLayer(layer, name) if _is_in_memory(self, name) else make(self, name)

    layers.ChannelLayerManager.make_backend = make_backend
    parking.install()
    return layer


def load(name):
    """The application of this name: `module:attribute`, or with a dot as Django's ASGI_APPLICATION has it."""
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def main(name, place):
    """Runs a worker that joins at a place."""
    layer = prepare()
    worker = Worker(load(name), layer, name)
    worker.classes.look_at_all()
    asyncio.run(worker.run(place))
