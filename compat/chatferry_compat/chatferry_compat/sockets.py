"""Where the WebSocket is mounted, its consumer, and what stands around it: read from the ASGI application.

Middleware of ASGI has no common form, so each object is looked into for the application it wraps.
"""

from dataclasses import dataclass
from importlib import import_module

from django.conf import settings
from django.urls.resolvers import RegexPattern, RoutePattern

from . import served
from .rest_routes import static_text

#: Applications within applications that are looked at.
MAX_APPLICATIONS = 500
#: Where middleware keeps what it wraps, by custom.
INNER = ("inner", "application", "app", "asgi_app", "_app", "wrapped")


@dataclass(frozen=True)
class Socket:
    """A route to a consumer. `wrappers` are the middleware objects around it, from the outside."""

    static: str
    route: str
    patterns: tuple
    consumer: type
    wrappers: tuple

    @property
    def prefix(self):
        script = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
        return f"{script}/{self.static.lstrip('/')}"

    @property
    def is_served(self):
        """Whether it answers `prefix<uuid>/`, which is the one form that Chatferry serves."""
        return self.prefix.endswith("/") and _matches(self.patterns, f"{self.static}{served.SAMPLE_ID}/")


def application():
    """The project's ASGI application, or None."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not path:
        return None
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def choose(found, app_label, app_module):
    """The chat's socket among all: one in the chat's app, one that matches a conversation's path. None without any."""
    own = [s for s in found if s.consumer.__module__.split(".")[0] == app_module.split(".")[0]]
    ranked = sorted(own or found, key=lambda s: (not s.is_served, app_label not in s.static, len(s.static)))
    return ranked[0] if ranked else None


def all_sockets(app):
    """Every route to a consumer below an ASGI application."""
    stack = [(app, "", "", (), ())]
    seen = 0
    while stack and seen < MAX_APPLICATIONS:
        app, static, route, patterns, wrappers = stack.pop()
        seen += 1
        if hasattr(app, "application_mapping"):
            stack.append((app.application_mapping.get("websocket"), static, route, patterns, wrappers))
        elif isinstance(getattr(app, "routes", None), (list, tuple)):
            for child in reversed(app.routes):
                if isinstance(getattr(child, "pattern", None), (RoutePattern, RegexPattern)):
                    text, _ = static_text(child.pattern)
                    text = static if "<" in route or "(" in route else static + text
                    whole = route + str(child.pattern).removeprefix("^")
                    stack.append((child.callback, text, whole, (*patterns, child.pattern), wrappers))
        elif hasattr(app, "consumer_class"):
            yield Socket(static, route, patterns, app.consumer_class, wrappers)
        else:
            stack += [(inner, static, route, patterns, (*wrappers, app)) for inner in _inner(app)]


def _inner(app):
    """What a piece of middleware wraps: an attribute of one of the usual names, else what a closure holds."""
    for name in INNER:
        if callable(getattr(app, name, None)):
            return [getattr(app, name)]
    cells = (cell.cell_contents for cell in getattr(app, "__closure__", None) or () if _is_filled(cell))
    held = [value for value in (*cells, *getattr(app, "__dict__", {}).values()) if _leads_on(value)]
    return held[:5]


def _is_filled(cell):
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _leads_on(value):
    marks = ("application_mapping", "routes", "consumer_class", *INNER)
    return callable(value) and any(hasattr(value, mark) for mark in marks)


def _matches(patterns, path):
    """As nested URLRouters match: each takes its part, the last one all that remains."""
    for pattern in patterns:
        match = pattern.match(path.lstrip("/"))
        if not match:
            return False
        path = match[0]
    return path == ""


def origins(socket):
    """Returns (origins, unmapped) that every OriginValidator allows; (None, []) if nothing checks origins."""
    lists = [list(map(str, w.allowed_origins)) for w in socket.wrappers if hasattr(w, "allowed_origins")]
    pairs = [_mapped(texts) for texts in lists if "*" not in texts]
    if not pairs:
        return None, []
    common = [origin for origin in pairs[0][0] if all(origin in mapped for mapped, _ in pairs)]
    return common, [text for _, unmapped in pairs for text in unmapped]


def as_sent(origin):
    """Spells an origin as browsers do: in small letters, without a path and without its scheme's own port."""
    scheme, _, host = origin.lower().rstrip("/").partition("://")
    own = {"https": ":443", "http": ":80"}.get(scheme, "")
    return f"{scheme}://{host.removesuffix(own) if own else host}"


def _mapped(texts):
    mapped, unmapped = [], []
    for text in texts:
        scheme, _, host = text.rpartition("://")
        if "*" in host:
            unmapped.append(text)
        elif scheme:
            mapped.append(as_sent(text))
        else:
            mapped += [f"{scheme}://{host.lower()}" for scheme in ("https", "http")]
    return mapped, unmapped
