"""The consumer's frames, and the events that anything sends to its groups, as far as source tells."""

from django.apps import apps

from .. import consumer_source, served
from ..access.middleware import HARMLESS
from ..finding import BREAKS, DIFFERS, LOOK, Finding

AREA = "socket"


def check(project):
    socket, consumer = project.socket, project.consumer
    if socket is None:
        return
    for wrapper in socket.wrappers:
        name = type(wrapper).__name__ if type(wrapper).__name__ != "function" else wrapper.__qualname__
        if name not in HARMLESS:
            text = "middleware around the consumer that Chatferry does not have"
            yield Finding(LOOK, AREA, name, text, "See whether it refuses or changes anything.")
    if not consumer.readable:
        text = "its source cannot be read"
        yield Finding(LOOK, AREA, socket.consumer.__name__, text, "Compare with compat/kit.")
        return
    yield from _frames(consumer)
    yield from _commands(consumer)
    yield from _closing(consumer)
    yield from _events(project)


def _frames(consumer):
    for kind, keys in consumer.frames.items():
        wanted = served.FRAMES.get(kind)
        if wanted is None:
            text = f"a {{{', '.join(keys)}}} that Chatferry does not send"
            yield Finding(LOOK, AREA, f"frame {kind}", text, "If clients need it, keep the socket with Django.")
        elif keys != wanted:
            severity = DIFFERS if set(keys) == set(wanted) else BREAKS
            text = f"keys {', '.join(keys)}; from Chatferry {', '.join(wanted)}"
            yield Finding(severity, AREA, f"frame {kind}", text, "Make it the same in Django first.")
    for kind in sorted(served.FRAMES.keys() - consumer.frames.keys()):
        text = "not found in the consumer's source, but sent by Chatferry"
        yield Finding(LOOK, AREA, f"frame {kind}", text, "See what the consumer sends instead.")
    for text in sorted(consumer.errors - set(served.ERROR_TEXTS)):
        yield Finding(
            DIFFERS, AREA, "error frame", f"says {text!r}, Chatferry never", "Clients should not compare texts."
        )


def _commands(consumer):
    for kind in sorted(consumer.commands - set(served.COMMANDS) - served.FRAMES.keys()):
        text = "understood by the consumer, ignored by Chatferry"
        yield Finding(LOOK, AREA, f"command {kind}", text, "If clients send it, keep the socket with Django.")
    for kind in sorted(set(served.COMMANDS) - consumer.commands):
        text = "not found in the consumer's source, but understood by Chatferry"
        yield Finding(LOOK, AREA, f"command {kind}", text, "See what the consumer makes of it.")


def _closing(consumer):
    for code in sorted(map(str, consumer.close_codes)):
        text = "Chatferry refuses with 403 before the socket opens, and has no code of its own here"
        yield Finding(DIFFERS, AREA, f"close code {code}", text, "Look for clients that react to it.")


def _events(project):
    """Of the whole app: views and Celery tasks reach Chatferry's sockets by the same events."""
    directory = apps.get_containing_app_config(project.socket.consumer.__module__)
    own = [("consumer", kind, keys) for kind, keys in project.consumer.events]
    sent = consumer_source.events_sent(directory.path) if directory else ()
    for where, kind, keys in [*own, *((f"{path}:{line}", kind, keys) for path, line, kind, keys in sent)]:
        wanted = served.EVENTS.get(kind.replace(".", "_"))
        if wanted is None:
            text = f"the event {kind!r} has no handler in Chatferry: it is counted and dropped"
            advice = "If sockets get it as it is, name it in layer.passthrough; else keep them with Django."
            yield Finding(LOOK, "channel layer", where, text, advice)
        elif wanted - set(keys):
            text = f"the event {kind!r} lacks {', '.join(sorted(wanted - set(keys)))}"
            yield Finding(BREAKS, "channel layer", where, text, "Chatferry drops it: send every field.")
