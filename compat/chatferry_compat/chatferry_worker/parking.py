"""AsyncConsumer.__call__ without a loop that waits: the consumer is put into its socket, and called when there is
something to do.

That is right only if nothing between the application and the consumer is still to run when the consumer returns. Once
for each class and way to it the frames of the call are looked at: each must await what it calls as its very last act.
"""

import ast
import functools
import inspect
import sys
import textwrap

from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer
from channels.layers import get_channel_layer

from . import classes
from .layer import WireChannelLayer
from .sockets import Socket
from .states import StateError

_original = AsyncConsumer.__call__


def install():
    """Lets consumers of this process be parked."""
    AsyncConsumer.__call__ = _call


async def _call(self, scope, receive, send):
    socket = getattr(receive, "__self__", None)
    if not isinstance(socket, Socket):
        # Some middleware has put a receive of its own between.
        return await _original(self, scope, receive, send)
    kind = socket.worker.classes.of(type(self))
    why = kind.why or _way_back(socket)
    layer = get_channel_layer(self.channel_layer_alias)
    if not why and layer is not None and not isinstance(layer, WireChannelLayer):
        why = "its channel layer is not Chatferry's"
    if socket.waking is not None:
        _check(socket.waking, kind, why)
    if why:
        socket.worker.serves(socket, kind.awake(why))
        return await _original(self, scope, receive, send)
    socket.worker.serves(socket, kind if _is_plain(send) else kind.each())
    self.scope = scope
    self.channel_layer = layer
    if layer is not None:
        self.channel_name = socket.channel_name
        self.channel_receive = socket.receive_event
    self.base_send = async_to_sync(send) if self._sync else send
    socket.park(self)
    return None


def _check(state, kind, why):
    """Raises unless a consumer of this kind may get a state."""
    if why:
        raise StateError(f"{kind.name} stays awake: {why}")
    if kind.name != state["class"]:
        raise StateError(f"its route leads to {kind.name} now")


def _is_plain(send):
    """Whether frames go out as the consumer sends them. Channels' session middleware changes none."""
    owner = getattr(send, "__self__", None)
    return isinstance(owner, Socket) or classes.is_framework(type(owner).__module__)


def _way_back(socket):
    """Why code between the application and the consumer has still something to do; empty if it has not."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code is not Socket._run.__code__:
        module = frame.f_globals.get("__name__", "")
        if not classes.is_framework(module) and not _is_last_act(frame.f_code, frame.f_lineno):
            return f"{module}.{frame.f_code.co_name} goes on after the consumer has returned"
        frame = frame.f_back
    return "" if frame is not None else "it is called in a task of its own"


@functools.lru_cache(maxsize=1000)
def _is_last_act(code, line):
    """Whether the await at this line is the last that the function does."""
    try:
        lines, first = inspect.getsourcelines(code)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    function = tree.body[0]
    if not isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef):
        return False
    return _ends(function.body, line - first + 1, last=True)


def _ends(body, line, last):
    """Whether the statement at this line leaves the function. `last`: nothing comes after the body."""
    for place, statement in enumerate(body):
        if not statement.lineno <= line <= statement.end_lineno:
            continue
        if isinstance(statement, ast.Return):
            return isinstance(statement.value, ast.Await)
        is_last = last and place == len(body) - 1
        if isinstance(statement, ast.Expr):
            return is_last and isinstance(statement.value, ast.Await)
        if isinstance(statement, ast.If):
            return _ends(statement.body, line, is_last) or _ends(statement.orelse, line, is_last)
        if isinstance(statement, ast.For):
            # A return leaves it; anything else goes round again.
            return _ends(statement.body, line, False)
        return False
    return False
