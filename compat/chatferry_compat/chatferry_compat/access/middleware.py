"""Middleware around views and consumers: known, seen to let everybody pass, or in doubt."""

import ast
import inspect
import re

from django.conf import settings
from django.utils.module_loading import import_string

from .. import served, sockets, source
from ..source import call_name, key_of, root_name
from .caller import HARMLESS_SCOPE, LOGGING

#: Middleware of Channels that refuses no caller for who they are. Origins are a setting of their own.
HARMLESS = {"AuthMiddleware", "CookieMiddleware", "SessionMiddleware", "OriginValidator"}
LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"
REMOTE_USER = re.compile(r"RemoteUserMiddleware$")
#: Packages whose middleware has no rules about callers. Its other effects are in `checks.framework`.
ASKS_NOBODY = (
    *("django.middleware.", "django.contrib.", "corsheaders.", "whitenoise.", "django_prometheus.", "debug_toolbar."),
    *("allauth.account.middleware.", "django_htmx.", "simple_history.", "silk.", "csp.", "request_id."),
)
#: Words in the source of middleware that reads tokens, by their kind.
KINDS = {
    "jwt": re.compile(r"simplejwt|AccessToken|UntypedToken|JWTAuthentication|TokenBackend|jwt\.decode|jwt_decode"),
    "authtoken": re.compile(r"authtoken|Token\.objects"),
}
SIMPLEJWT = re.compile(r"simplejwt|AccessToken|UntypedToken|JWTAuthentication|TokenBackend")


#: Packages that only watch what passes by.
TRACERS = ("sentry_sdk.", "opentelemetry.", "elasticapm.", "ddtrace.", "newrelic.", "scout_apm.")
#: Rules about a user that a token alone does not tell.
MORE_RULES = re.compile(r"black_?list|revok|banned|blocked|has_perm|is_staff|is_superuser|\bgroups\b", re.IGNORECASE)


def doubts():
    """Yields a doubt for each of the project's own middleware that may refuse a caller."""
    for name in settings.MIDDLEWARE:
        if name in served.MIDDLEWARE or name == LOGIN_REQUIRED or name.startswith(ASKS_NOBODY):
            if REMOTE_USER.search(name):
                yield f"{name}: callers are known by a header"
        elif not _lets_pass(name):
            yield f"the middleware {name} may refuse callers"


def _lets_pass(name):
    try:
        thing = import_string(name)
    except Exception:  # whatever the project's module does when it is imported
        return False
    if isinstance(thing, type):
        sources, unread = source.read_classes(thing, ("django", "builtins", "asgiref"))
        return bool(sources) and not unread and all(map(_is_transparent, sources))
    read = source.read(thing)
    return read is not None and _is_transparent(read)


def _is_transparent(read):
    """Tests that every answer is that of `get_response`, and that the request goes nowhere else."""
    if read.nodes(ast.Raise):
        return False
    answers = {"get_response", "response"}
    answers |= {node.name for node in read.nodes(ast.FunctionDef, ast.AsyncFunctionDef)}
    for node in read.nodes(ast.Assign):
        if any(ast.unparse(target) == "response" for target in node.targets) and not _is_answer(node.value, answers):
            return False
        if any(ast.unparse(target) in ("request.user", "request.session") for target in node.targets):
            return False
    if not all(_is_answer(node.value, answers) for node in read.nodes(ast.Return)):
        return False
    return all(
        call_name(call) == "get_response" or root_name(call.func) in LOGGING
        for call in read.nodes(ast.Call)
        if any(
            isinstance(node, ast.Name) and node.id == "request" for arg in _arguments(call) for node in ast.walk(arg)
        )
    )


def _arguments(call):
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _is_answer(value, answers):
    value = value.value if isinstance(value, ast.Await) else value
    if isinstance(value, ast.Call):
        return call_name(value) == "get_response"
    return value is None or getattr(value, "id", None) in answers or getattr(value, "value", 0) is None


def around_http():
    """Yields a doubt for an application around Django's in ASGI."""
    try:
        mapping = getattr(sockets.application(), "application_mapping", {})
    except Exception:  # whatever the project's asgi module does when it is imported
        return
    http = mapping.get("http")
    module = getattr(http, "__module__", "")
    if http is not None and not module.startswith(("django.", "channels.", *TRACERS)):
        yield f"{module}.{type(http).__name__} around Django's application may refuse callers"


def around_socket(wrappers):
    """Returns ({ways to know a caller}, [doubts], [modules that read tokens]) of the middleware around a consumer."""
    ways, doubts, readers = set(), [], []
    for wrapper in wrappers:
        cls = type(wrapper)
        if cls.__module__.startswith(TRACERS):
            continue
        if cls.__name__ in HARMLESS and cls.__module__.startswith("channels."):
            if cls.__name__ == "AuthMiddleware":
                ways.add("session")
            continue
        function = getattr(wrapper, "__code__", None) is not None
        sources, unread = ([source.read(wrapper)], []) if function else source.read_classes(cls)
        sources = [read for read in sources if read]
        if sources and not unread and all(map(_passes_on, sources)):
            continue
        module = source.read(inspect.getmodule(wrapper if function else cls))
        kinds = {kind for kind, words in KINDS.items() if module and words.search(ast.unparse(module.tree))}
        if len(kinds) == 1:
            # The user that a token names takes the place of the session's.
            ways = kinds
            readers.append(module)
            if MORE_RULES.search(ast.unparse(module.tree)):
                doubts.append(f"{module.name} looks at more than the token")
        else:
            name = wrapper.__qualname__ if function else cls.__name__
            doubts.append(f"the middleware {name} around the consumer may refuse callers")
    return ways, doubts, readers


def _passes_on(read):
    """Tests that an ASGI application only calls the inner one."""
    if read.nodes(ast.Raise):
        return False
    for node in read.nodes(ast.Name):
        if node.id in ("scope", "receive", "send") and isinstance(node.ctx, ast.Load):
            parent = read.parents[node]
            is_passed = isinstance(parent, ast.Call) and len(parent.args) == 3
            is_copied = isinstance(parent, ast.Call) and call_name(parent) == "dict"
            if not is_passed and not is_copied and key_of(parent) not in HARMLESS_SCOPE:
                return False
    return True


def query_keys(readers):
    """Returns the names of tokens that middleware looks up, as `token` of `?token=`."""
    keys = {key_of(node) for read in readers for node in read.nodes(ast.Subscript, ast.Call)}
    return {key for key in keys if isinstance(key, (str, bytes)) and re.search(r"tok|jwt|access", _text(key))}


def uses_simplejwt(readers):
    return all(SIMPLEJWT.search(ast.unparse(read.tree)) for read in readers)


def _text(key):
    return key.decode(errors="replace") if isinstance(key, bytes) else key
