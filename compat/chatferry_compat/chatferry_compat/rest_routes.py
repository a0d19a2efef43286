"""Where the REST API is mounted, and which view answers each of its paths: asked of Django's own resolver."""

import itertools
import re
from dataclasses import dataclass

from django.conf import settings
from django.urls import Resolver404, get_resolver
from django.urls.resolvers import RegexPattern

from . import served

#: Deeper includes are not looked at.
MAX_DEPTH = 20
VERBS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class View:
    """What answers a path. `methods` is None for a plain function, which takes any."""

    endpoint: served.Endpoint
    route: str
    callback: object
    cls: type | None
    methods: frozenset | None

    @property
    def answers(self):
        """Whether it takes the endpoint's method."""
        return self.methods is None or self.endpoint.method in self.methods


@dataclass(frozen=True)
class RestApi:
    prefix: str
    views: tuple
    #: Endpoints without a view that takes their method.
    missing: tuple
    #: Paths below the prefix that Chatferry does not serve.
    extra: tuple

    def view_classes(self):
        return [view for view in self.views if view.cls is not None]


def find(prefix=None):
    """The API at `prefix`, or where most of its paths resolve. None if none does."""
    leaves = list(_leaves(get_resolver()))
    if prefix is None:
        scored = [(len(_routes(candidate)), candidate) for candidate in _candidates(leaves)]
        score, prefix = max(scored, key=lambda pair: (pair[0], -len(pair[1])), default=(0, ""))
        if score < 2:
            return None
    prefix = "/" + prefix.strip("/") + "/" if prefix.strip("/") else "/"
    found = {endpoint: _view(prefix, endpoint) for endpoint in served.ENDPOINTS}
    views = tuple(view for view in found.values() if view)
    missing = tuple(endpoint for endpoint, view in found.items() if not view or not view.answers)
    known = {view.route for view in views}
    extra = (route for static, route in leaves if ("/" + static).startswith(prefix) and route not in known)
    script = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    return RestApi(script + prefix, views, missing, tuple(dict.fromkeys(extra)))


def static_text(pattern):
    """The text of a route up to its first variable part, and whether that is all of it."""
    if isinstance(pattern, RegexPattern):
        regex = pattern._regex.removeprefix("^").removesuffix("$").removesuffix(r"\Z")
        text = re.split(r"(?<!\\)[(\[.?*+|{]", regex, maxsplit=1)[0]
        # A quantifier belongs to the character before it.
        if regex[len(text) : len(text) + 1] in ("?", "*", "+", "{"):
            text = text[:-1]
        return re.sub(r"\\([^\w])", r"\1", text), text == regex
    route = str(getattr(pattern, "_route", pattern))
    text = route.split("<", 1)[0]
    return text, text == route


def _leaves(resolver):
    """(static beginning, whole route) of each pattern of a URL configuration."""
    stack = [(pattern, "", "", True, 0) for pattern in resolver.url_patterns]
    while stack:
        pattern, static, route, open_end, depth = stack.pop()
        text, whole = static_text(pattern.pattern)
        static = static + text if open_end else static
        part = str(pattern.pattern)
        route = route + part.removeprefix("^") if route else part
        if hasattr(pattern, "url_patterns") and depth < MAX_DEPTH:
            inner = (open_end and whole, depth + 1)
            stack += [(child, static, route, *inner) for child in pattern.url_patterns]
        else:
            yield static, route


def _candidates(leaves):
    """Every path that could be the prefix."""
    texts = {"/" + static for static, _ in leaves}
    cut = (itertools.accumulate(text.split("/")[:-1], "{}/{}".format) for text in texts)
    return {f"{path}/" for path in itertools.chain.from_iterable(cut)} | {"/"}


def _routes(prefix):
    """The routes that answer the API's paths at a prefix; one that takes any path counts once."""
    return {view.route for endpoint in served.ENDPOINTS if (view := _view(prefix, endpoint))}


def _view(prefix, endpoint):
    try:
        match = get_resolver().resolve(prefix + endpoint.sample)
    except Resolver404:
        return None
    callback = match.func
    if callback.__module__.startswith("django.contrib."):
        # The admin's, which answers any path below its own.
        return None
    cls = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    return View(endpoint, match.route, callback, cls, _methods(callback, cls))


def _methods(callback, cls):
    """The methods a view takes, without those that come by themselves."""
    actions = getattr(callback, "actions", None)
    if actions:
        return frozenset(verb.upper() for verb in actions if verb in VERBS)
    if cls is None:
        return None
    allowed = getattr(cls, "http_method_names", VERBS)
    return frozenset(verb.upper() for verb in VERBS if verb in allowed and hasattr(cls, verb))
