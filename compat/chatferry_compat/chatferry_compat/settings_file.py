"""The entries of a chatferry.toml for this Django project, each with what is to be said about it."""

import ast
import inspect
import sys
from dataclasses import dataclass

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.db import connections

from . import chat_models, consumer_source, database, layer, rest_routes, sockets
from .finding import BREAKS, DIFFERS, LOOK, Finding
from .toml import Entry


@dataclass(frozen=True)
class Project:
    """What both commands look at."""

    models: chat_models.ChatModels
    rest: rest_routes.RestApi | None
    socket: sockets.Socket | None
    consumer: consumer_source.ConsumerFacts
    entries: tuple

    def setting_findings(self):
        return [finding for entry in self.entries for finding in entry.findings]


def read(options):
    """The project as the command's options ask for it."""
    names = (options["conversation_model"], options["message_model"], options["receipt_model"])
    models = chat_models.find(options["app"], *names)
    app = apps.get_app_config(options["app"])
    rest = rest_routes.find(options["url_prefix"])
    socket, unread = _socket(app)
    consumer = consumer_source.facts(socket.consumer) if socket else consumer_source.ConsumerFacts()
    entries = [
        _bind(),
        database.store_url(_database(options["database"])),
        *_tables(models),
        _url_prefix(rest),
        _ws_prefix(socket, unread, options["ws_prefix"]),
        _group_pattern(consumer),
        _time_zone(),
        _language(),
        *_secret_keys(),
        *layer.layer_entries(
            getattr(settings, "CHANNEL_LAYERS", {}).get(options["layer"]), _version("redis"), _version("channels-redis")
        ),
        *_broadcast(rest),
        *_origins(socket),
        _ping(),
        _identity(rest),
    ]
    return Project(models, rest, socket, consumer, tuple(entries))


def _database(alias):
    try:
        return connections.settings[alias]
    except KeyError as error:
        raise CommandError(f"DATABASES has no {alias!r}: name one with --database.", returncode=2) from error


def _socket(app):
    """The chat's socket, or why there is none."""
    try:
        return sockets.find(app.label, app.name), None
    except Exception as error:  # whatever the project's asgi module does when it is imported
        return None, f"{type(error).__name__}: {error}"


def _bind():
    comment = "Beside Django, which has 8000. Other machines: 0.0.0.0:8001 and auth.allow_anonymous = true in [auth]."
    return Entry("server.bind", "127.0.0.1:8001", comments=[comment])


def _tables(models):
    return [Entry(f"store.tables.{table.setting}", model._meta.db_table.strip('"')) for model, table in models.pairs()]


def _url_prefix(rest):
    if rest is None:
        text = "none of the chat's paths is in the URL configuration"
        return Entry(
            "django.url_prefix", findings=[_find(LOOK, "routes", "URL prefix", text, "Name it: --url-prefix.")]
        )
    return Entry("django.url_prefix", rest.prefix)


def _ws_prefix(socket, unread, asked):
    if asked:
        return Entry("django.ws_prefix", "/" + asked.strip("/") + "/")
    if socket is None:
        text = unread or "ASGI_APPLICATION has no route to a consumer"
        return Entry("django.ws_prefix", findings=[_find(LOOK, "socket", "ASGI_APPLICATION", text, "Use --ws-prefix.")])
    entry = Entry("django.ws_prefix", socket.prefix)
    if not socket.is_served:
        text = "Chatferry serves PREFIX/<uuid of a conversation>/ alone"
        entry.findings.append(
            _find(BREAKS, "socket", socket.route, text, "Mount the socket like that in Django first.")
        )
        entry.value = entry.value if entry.value.endswith("/") else None
    return entry


def _group_pattern(consumer):
    if consumer.group_pattern:
        return Entry("django.group_pattern", consumer.group_pattern)
    text = "the group's name could not be read from the consumer"
    advice = "See what it gives to group_add, and write it here with {conversation_id} in it."
    entry = Entry("django.group_pattern", "chat_{conversation_id}")
    entry.findings.append(_find(LOOK, "channel layer", "group name", text, advice))
    return entry


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


def _origins(socket):
    allowed, unmapped = sockets.origins(socket) if socket else (None, [])
    if allowed is None:
        return []
    entry = Entry("ws.allowed_origins", allowed)
    if unmapped:
        text = f"patterns as {', '.join(unmapped)} are not served, only whole origins, and `same` for the host itself"
        entry.findings.append(_find(LOOK, "socket", "allowed origins", text, "List every origin that is used."))
    return [entry]


def _ping():
    comment = "Daphne's --ping-interval and --ping-timeout are not in Django's settings: copy them if you set them."
    return Entry("ws.ping_interval_s", comments=[comment])


def _identity(rest):
    entry = Entry("auth.identity", "none")
    entry.comments.append("none: the ids that a client gives are believed, as in the original.")
    classes = {cls.__name__ for view in (rest.view_classes() if rest else ()) for cls in _permissions(view)}
    if classes - {"AllowAny"}:
        text = f"views ask for {', '.join(sorted(classes - {'AllowAny'}))}; this file lets everybody in"
        advice = "Do not move before auth.identity and auth.policy say the same."
        entry.findings.append(_find(BREAKS, "views", "permission_classes", text, advice))
    return entry


def _permissions(view):
    return getattr(view.callback, "initkwargs", {}).get("permission_classes") or getattr(
        view.cls, "permission_classes", ()
    )


def _find(severity, area, subject, text, advice):
    return Finding(severity, area, subject, text, advice)


def _version(package):
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None
