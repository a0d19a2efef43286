"""The doors of a chat: the views of its API and its consumer, each with its authentication and its rules."""

import ast
import inspect
import re
from dataclasses import dataclass, field

from django.conf import settings

from .. import source
from . import caller, middleware
from .caller import Level, Uses

#: Packages of base classes whose rules are in their attributes.
FOREIGN_VIEWS = ("rest_framework", "django", "builtins", "abc", "typing")
#: Modules whose wrappers around a view have no rules about callers.
HARMLESS_WRAPPERS = ("django.views.", "django.utils.", "django.db.", "rest_framework.", "contextlib", "functools")
HARMLESS_DECORATORS = re.compile(
    r"^(property|cached_property|staticmethod|classmethod|override|action\(.*|api_view\(.*|csrf_exempt|"
    r"((transaction\.)?atomic|never_cache|ensure_csrf_cookie)(\(.*)?|"
    r"(permission|authentication|throttle|renderer|parser)_classes\(.*|schema\(.*|extend_schema.*|"
    r"swagger_auto_schema\(.*|require_\w+(\(.*)?|database_sync_to_async|sync_to_async.*|"
    r"method_decorator\((csrf_exempt|never_cache|ensure_csrf_cookie|transaction\.atomic)\b.*)$",
    re.DOTALL,
)
#: Methods by which a view of REST framework decides for itself whom it serves.
OWN_RULES = {
    *("get_permissions", "get_authenticators", "check_permissions", "check_object_permissions", "initial", "dispatch"),
    *("perform_authentication", "permission_denied", "get_throttles", "initialize_request"),
}
AUTHENTICATION = {
    "rest_framework.authentication.SessionAuthentication": "session",
    "rest_framework.authentication.BasicAuthentication": "basic",
    "rest_framework.authentication.TokenAuthentication": "authtoken",
    "rest_framework_simplejwt.authentication.JWTAuthentication": "jwt",
    "rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication": "jwt",
    "dj_rest_auth.jwt_auth.JWTCookieAuthentication": "jwt",
}


@dataclass
class Door:
    """`ways` to know a caller matter only where there is a rule."""

    name: str
    uses: Uses = field(default_factory=Uses)
    ways: frozenset = frozenset()
    #: Classes of authentication, and middleware that reads tokens.
    readers: tuple = ()

    @property
    def level(self):
        return self.uses.level


def find(rest, socket, models):
    """Returns every door. A consumer that cannot be found is one with a doubt."""
    names = {model.__name__ for model, _ in models.pairs()}
    views = [_view(view, names) for view in (rest.views if rest else ())]
    for door in views:
        for doubt in (*middleware.doubts(), *middleware.around_http()):
            door.uses.doubt(doubt)
    return [*views, _consumer(socket, names)]


def _consumer(socket, models):
    if socket is None:
        door = Door("consumer")
        door.uses.doubt("no consumer was found")
        return door
    sources, unread = source.read_classes(socket.consumer)
    uses = caller.read(sources, models, claims=True)
    ways, doubts, readers = middleware.around_socket(socket.wrappers)
    doubts += _unknown_decorators(sources)
    for name in unread:
        uses.doubt(f"the source of {name} cannot be read")
    for text in doubts:
        uses.doubt(text)
    if readers and not uses.reads_user:
        uses.doubt("the consumer does not look at the user that its middleware finds, which may refuse callers")
    return Door(socket.consumer.__name__, uses, frozenset(ways), tuple(readers))


def _view(view, models):
    door = Door(view.endpoint.path)
    sources, doubts, has_login = _sources_of_view(view)
    # These two look for conversations of the people that a client names, or make one.
    door.uses = caller.read(sources, models, claims=not view.endpoint.path.endswith("conversations/"))
    for text in doubts:
        door.uses.doubt(text)
    is_rest = view.cls is not None and hasattr(view.cls, "permission_classes")
    if is_rest:
        _rest_framework(door, view, models)
        if door.uses.hands_on or any(source.read_classes(view.cls, FOREIGN_VIEWS)[0]):
            _serializers(door, view)
    if middleware.LOGIN_REQUIRED in settings.MIDDLEWARE:
        has_login = has_login or getattr(view.callback, "login_required", True)
    if has_login:
        door.uses.rise(Level.LOGIN)
    if has_login or not is_rest:
        door.ways = frozenset({"session"})
    return door


def _rest_framework(door, view, models):
    for permission in attribute(view, "permission_classes") or ():
        _permission(door.uses, permission, view.endpoint.method, models)
    door.readers = tuple(attribute(view, "authentication_classes") or ())
    door.ways = frozenset(map(way, door.readers))
    if door.uses.asked > Level.NOBODY and not door.ways:
        door.uses.doubt("a login is asked for, and nothing finds out who is asking")


def way(authentication):
    """Returns the way of a class of authentication; its own name if it is not a known one."""
    for cls in authentication.__mro__ if isinstance(authentication, type) else ():
        known = AUTHENTICATION.get(f"{cls.__module__}.{cls.__qualname__}")
        if known:
            return known
        # Subclasses that only have another word, or leave out the check of CSRF, know callers as their base does.
        if not {name for name in vars(cls) if not name.startswith("__")} <= {"keyword", "enforce_csrf", "model"}:
            break
    return f"{getattr(authentication, '__module__', '?')}.{getattr(authentication, '__qualname__', authentication)}"


def attribute(view, name):
    """Returns an attribute of a view, which `as_view(name=…)` may overrule."""
    initial = getattr(view.callback, "initkwargs", {})
    return initial[name] if name in initial else getattr(view.cls, name, None)


def _permission(uses, permission, method, models):
    """Adds the rules of one class of permissions."""
    name = getattr(permission, "__name__", "")
    if getattr(permission, "operator_class", None) is not None:
        if permission.operator_class.__name__ != "AND":
            uses.doubt("permissions are combined by OR or NOT")
            return
        for part in (permission.op1_class, permission.op2_class):
            _permission(uses, part, method, models)
    elif getattr(permission, "__module__", "") == "rest_framework.permissions":
        is_read = name == "IsAuthenticatedOrReadOnly" and method == "GET"
        if name in ("IsAuthenticated", "IsAuthenticatedOrReadOnly"):
            uses.rise(Level.NOBODY if is_read else Level.LOGIN)
        elif name != "AllowAny":
            uses.doubt(f"{name} is asked for")
    else:
        for base in permission.__mro__[1:]:
            if base.__module__ == "rest_framework.permissions" and base.__name__ != "BasePermission":
                _permission(uses, base, method, models)
        _add(uses, *source.read_classes(permission, (*FOREIGN_VIEWS, "rest_framework")), models)


def _add(uses, sources, unread, models):
    found = caller.read(sources, models)
    uses.rise(found.asked)
    uses.attributes |= found.attributes
    uses.participants |= found.participants
    for doubt in [*found.doubts, *(f"the source of {name} cannot be read" for name in unread)]:
        uses.doubt(doubt)


def _serializers(door, view):
    """Doubts serializers of the project that look at their request."""
    from rest_framework.serializers import BaseSerializer

    def found(module):
        things = (*vars(module).values(), attribute(view, "serializer_class")) if module else ()
        return {thing for thing in things if isinstance(thing, type) and issubclass(thing, BaseSerializer)}

    # Nested serializers are in the modules of the outer ones.
    named = found(inspect.getmodule(inner_function(view.cls) or view.cls))
    named |= {other for serializer in named for other in found(inspect.getmodule(serializer))}
    for serializer in sorted(named, key=lambda cls: cls.__name__):
        for read in source.read_classes(serializer, FOREIGN_VIEWS)[0]:
            if re.search(r"\.context\b|CurrentUserDefault|requires_context", ast.unparse(read.tree)):
                door.uses.doubt(f"the serializer {serializer.__name__} looks at the request")


def inner_function(cls):
    """Returns the function that `@api_view` made a class of, or None."""
    for name in ("get", "post", "put", "patch", "delete"):
        handler = vars(cls).get(name) if cls else None
        if getattr(handler, "__qualname__", "").startswith("api_view.") and handler.__closure__:
            return handler.__closure__[0].cell_contents
    return None


def _sources_of_view(view):
    """Returns (sources, doubts, whether a decorator or mixin of Django requires a login)."""
    doubts, has_login, functions = [], False, []
    for function in [*_chain(view.callback), *_chain(inner_function(view.cls))]:
        inner = getattr(function, "__wrapped__", None)
        login, doubt = _wrapper(function, inner)
        has_login = has_login or login
        doubts += [doubt] if doubt else []
        if inner is None and not _module(function).startswith(HARMLESS_WRAPPERS):
            functions.append(function)
    sources = [source.read(function) for function in functions]
    if view.cls is not None and inner_function(view.cls) is None:
        sources, unread = source.read_classes(view.cls, FOREIGN_VIEWS)
        doubts += [f"the source of {name} cannot be read" for name in unread]
        mixins = {base.__name__ for base in view.cls.__mro__ if base.__module__ == "django.contrib.auth.mixins"}
        has_login = has_login or "LoginRequiredMixin" in mixins
        doubts += [f"{name} is asked for" for name in sorted(mixins - {"LoginRequiredMixin", "AccessMixin"})]
        own = {name for base in view.cls.__mro__ if not _is_foreign(base) for name in vars(base)} & OWN_RULES
        doubts += [f"{view.cls.__name__}.{name}() is the project's own" for name in sorted(own)]
    if None in sources:
        doubts.append("its source cannot be read")
    sources = [read for read in sources if read]
    has_login = has_login or any("login_required" in text for text in _decorators(sources))
    return sources, [*doubts, *_unknown_decorators(sources)], has_login


def _chain(function):
    """Returns a function and those that it wraps, from the outside."""
    found = []
    while function is not None and function not in found:
        found.append(function)
        function = getattr(function, "__wrapped__", None)
    return found


def _unknown_decorators(sources):
    unknown = (text for text in _decorators(sources) if not HARMLESS_DECORATORS.match(text))
    return [f"the decorator {text.splitlines()[0]} is not known" for text in unknown if "login_required" not in text]


def _decorators(sources):
    nodes = (node for read in sources for node in read.nodes(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    return [ast.unparse(decorator) for node in nodes for decorator in node.decorator_list]


def _is_foreign(cls):
    return cls.__module__.split(".")[0] in FOREIGN_VIEWS


def _module(function):
    """Returns the module of a function's code: wrappers take the names of what they wrap, not its globals."""
    return getattr(function, "__globals__", {}).get("__name__", "")


def _wrapper(function, inner):
    """Judges a wrapper; returns (whether it requires a login, a doubt or None)."""
    module = _module(function)
    if inner is None or module.startswith(HARMLESS_WRAPPERS):
        return False, None
    if module == "django.contrib.auth.decorators":
        tests = [cell.cell_contents for cell in function.__closure__ or () if callable(cell.cell_contents)]
        if any(getattr(test, "__qualname__", "").startswith("login_required.") for test in tests):
            return True, None
        return False, "a decorator of django.contrib.auth asks for more than a login"
    return False, f"a decorator of {module or 'an unknown module'} is around it"
