"""The entries of a chatferry.toml for this Django project, each with what is to be said about it."""

import ast
import inspect
import sys
from dataclasses import dataclass

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.db import connections

from . import chat_models, consumer_source, database, history, layer, rest_routes, sockets, source
from .access import decision, doors
from .access import entries as access
from .finding import BREAKS, DIFFERS, LOOK, Finding
from .toml import Entry, undecided


@dataclass(frozen=True)
class Project:
    """What both commands look at."""

    models: chat_models.ChatModels
    rest: rest_routes.RestApi | None
    socket: sockets.Socket | None
    #: Every route to a consumer, the chat's among them.
    sockets: tuple
    consumer: consumer_source.ConsumerFacts
    access: decision.Decision
    entries: tuple

    @property
    def others(self):
        """The other routes, to the same consumer or to others."""
        return tuple(socket for socket in self.sockets if socket is not self.socket)

    def setting_findings(self):
        return [finding for entry in self.entries for finding in entry.findings]


def read(options):
    """The project as the command's options ask for it."""
    names = (options["conversation_model"], options["message_model"], options["receipt_model"])
    models = chat_models.find(options["app"], *names)
    app = apps.get_app_config(options["app"])
    rest = rest_routes.find(options["url_prefix"])
    routes, unread = all_sockets()
    socket = sockets.choose(routes, app.label, app.name)
    consumer = consumer_source.facts(socket.consumer) if socket else consumer_source.ConsumerFacts()
    decided = decision.decide(doors.find(rest, socket, models))
    has_identity = decided.identity != "none"
    entries = [
        _bind(has_identity),
        database.store_url(_database(options["database"])),
        *_tables(models),
        _url_prefix(rest, decided),
        _ws_prefix(socket, unread, options["ws_prefix"]),
        *_other_sockets([route for route in routes if route is not socket]),
        _group_pattern(consumer),
        _time_zone(),
        _language(),
        *_secret_keys(),
        *layer.layer_entries(
            getattr(settings, "CHANNEL_LAYERS", {}).get(options["layer"]), _version("redis"), _version("channels-redis")
        ),
        *_broadcast(rest),
        *access.origins(socket),
        *_history(socket),
        _ping(),
        *access.read(decided, options["database"]),
        *access.cors(has_identity),
        *access.throttles(rest, has_identity),
    ]
    return Project(models, rest, socket, routes, consumer, decided, tuple(entries))


def _database(alias):
    try:
        return connections.settings[alias]
    except KeyError as error:
        raise CommandError(f"DATABASES has no {alias!r}: name one with --database.", returncode=2) from error


def all_sockets():
    """Returns (every route to a consumer, the reason why there is none)."""
    try:
        return tuple(sockets.all_sockets(sockets.application())), None
    except Exception as error:  # whatever the project's asgi module does when it is imported
        return (), f"{type(error).__name__}: {error}"


def _bind(has_identity):
    also = "" if has_identity else " and auth.allow_anonymous = true in [auth]"
    comment = f"Beside Django, which has 8000. Other machines: 0.0.0.0:8001{also}."
    return Entry("server.bind", "127.0.0.1:8001", comments=[comment])


def _tables(models):
    return [Entry(f"store.tables.{table.setting}", model._meta.db_table.strip('"')) for model, table in models.pairs()]


def _url_prefix(rest, decided):
    """Returns the prefix; one to decide where Chatferry would serve a path that Django does not have."""
    key, subject = "django.url_prefix", "URL prefix"
    if rest is None:
        text = "none of the chat's paths is in the URL configuration, and Chatferry serves all of them"
        finding = _find(LOOK, "routes", subject, text, "Name it (--url-prefix), or write one here for a new API.")
        return undecided(key, finding, "the prefix of the REST API, as /api/chat/")
    others = ", ".join(rest.extra[:6])
    entry = Entry(key, rest.prefix)
    if rest.missing:
        paths = ", ".join(endpoint.path for endpoint in rest.missing)
        text = f"Chatferry would serve {paths}, which Django does not have" + (f" (it has {others})" if others else "")
        advice = f"Mount them so in Django first, or write {rest.prefix} if they may be served."
        finding = _find(BREAKS, "routes", subject, text, advice)
        if decided.policy != "participants":
            return undecided(key, finding, f"{rest.prefix} if Chatferry may serve what Django does not have")
        entry.findings.append(finding)
    elif others:
        entry.comments.append(f"Not served by Chatferry, and Django's behind the gateway: {others}.")
    return entry


def _ws_prefix(socket, unread, asked):
    key = "django.ws_prefix"
    if asked:
        return Entry(key, "/" + asked.strip("/") + "/")
    if socket is None:
        text = unread or "ASGI_APPLICATION has no route to a consumer"
        finding = _find(LOOK, "socket", "ASGI_APPLICATION", text, "Use --ws-prefix.")
        return undecided(key, finding, "where the WebSocket is, as /ws/chat/")
    if not socket.is_served:
        text = "Chatferry serves PREFIX/<uuid of a conversation>/ alone"
        finding = _find(BREAKS, "socket", socket.route, text, "Mount the socket like that in Django first.")
        return undecided(key, finding, "where the WebSocket is, as /ws/chat/")
    return Entry(key, socket.prefix)


def _other_sockets(others):
    """Yields a TO DO for each other socket: without Django it is not served."""
    for other in others:
        text = f"another socket ({other.consumer.__name__}): a 404 or 500 without the gateway, and Django's behind it"
        advice = "Keep Django running behind the gateway: step 6 of the move would end this socket."
        yield Entry("django.ws_prefix", findings=[_find(BREAKS, "socket", other.route, text, advice)])


def _history(socket):
    return history.entries(source.read_classes(socket.consumer)[0]) if socket else []


def _group_pattern(consumer):
    if consumer.group_pattern:
        return Entry("django.group_pattern", consumer.group_pattern)
    text = "the group's name could not be read from the consumer"
    advice = "See what it gives to group_add, and write it here with {conversation_id} in it."
    finding = _find(LOOK, "channel layer", "group name", text, advice)
    return undecided("django.group_pattern", finding, "the group of a conversation, with its id in braces")


def _time_zone():
    entry = Entry("django.time_zone", settings.TIME_ZONE)
    if not settings.USE_TZ:
        text = "times are stored and answered without a zone; Chatferry's always have one"
        entry.findings.append(_find(BREAKS, "settings", "USE_TZ = False", text, "Move Django to USE_TZ = True first."))
    return entry


def _language():
    code = settings.LANGUAGE_CODE.lower() if settings.USE_I18N else "en-us"
    entry = Entry("django.language", "ko" if code.split("-")[0] == "ko" else "en-us")
    if code.split("-")[0] not in ("en", "ko"):
        text = f"errors of the framework are in {code!r}; Chatferry has English and Korean"
        entry.findings.append(_find(DIFFERS, "settings", "LANGUAGE_CODE", text, "Clients should not show these texts."))
    return entry


def _secret_keys():
    comment = "Only needed where Chatferry reads Django's sessions; the variable SECRET_KEY sets it too."
    entries = [Entry("django.secret_key", settings.SECRET_KEY, "", [comment])]
    if fallbacks := list(getattr(settings, "SECRET_KEY_FALLBACKS", [])):
        entries.append(Entry("django.secret_key_fallbacks", fallbacks, []))
    return entries


def _broadcast(rest):
    """Whether the view that sends tells the group too."""
    sends = [view for view in rest.views if view.endpoint.path.endswith("send/")] if rest else []
    if any("group_send" in _source(view) for view in sends):
        return [Entry("rest.broadcast", True, comments=["The view that sends a message calls group_send."])]
    return []


def _source(view):
    """The view as it is written; DRF's decorator hides the function itself."""
    target = view.cls or view.callback
    try:
        tree = ast.parse(inspect.getsource(sys.modules[target.__module__]))
    except (OSError, TypeError, SyntaxError):
        return ""
    return "".join(ast.unparse(node) for node in ast.walk(tree) if getattr(node, "name", None) == target.__name__)


def _ping():
    comment = "Daphne's --ping-interval and --ping-timeout are not in Django's settings: copy them if you set them."
    return Entry("ws.ping_interval_s", comments=[comment])


def _find(severity, area, subject, text, advice):
    return Finding(severity, area, subject, text, advice)


def _version(package):
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None
