"""The verdict on a chat: served by Chatferry itself, hosted by it, or neither, with the reason."""

import ast
from dataclasses import asdict, dataclass

from . import source
from .finding import BREAKS, Finding

NATIVE, HOSTED, NEITHER = "native", "hosted", "neither"
MEANINGS = {
    NATIVE: "Chatferry serves this chat itself",
    HOSTED: (
        "Chatferry holds the sockets and runs its consumers in workers: `chatferry host`, see src/host/README.md for "
        "what that covers"
    ),
    NEITHER: "Chatferry does not serve this chat",
}
#: The frame and command without which a chat is another one.
ESSENTIAL = "chat_message"
#: Calls by which a consumer holds a thread or process, so that to host it would win nothing.
HOLDS = {"Thread", "Popen", "fork", "run_forever", "SSHClient", "ThreadPoolExecutor", "ProcessPoolExecutor"}


@dataclass(frozen=True)
class Consumer:
    """`level` is how a worker serves it: awake, parked, or hibernated if `host.hibernate` is set and parked if not."""

    consumer: str
    route: str
    fits: bool
    why: str
    level: str
    why_not_less: str

    def as_text(self):
        level = f"{self.level}: {self.why_not_less}" if self.why_not_less else self.level
        return f"{self.consumer} at {self.route}: {'fits' if self.fits else 'does not fit'} ({self.why}); {level}"


@dataclass(frozen=True)
class Verdict:
    verdict: str
    why: str
    consumers: tuple = ()

    def as_text(self):
        lines = [f"Verdict: {self.verdict}. {MEANINGS[self.verdict]}. {self.why}".rstrip()]
        lines += [f"  {it.as_text()}" for it in self.consumers]
        return "\n".join(lines)

    def as_dict(self):
        return {**asdict(self), "meaning": MEANINGS[self.verdict]}


def of(project, found):
    """Returns the verdict on a project with the chat's models, and the findings that it leaves."""
    reason = not_native(project)
    if reason:
        return _gathered(without(reason, project.sockets), found)
    breaks = sum(finding.severity == BREAKS for finding in found)
    why = f"{breaks} rows marked `breaks` have to be settled first." if breaks else ""
    others = _consumers(project.others)
    if others:
        names = ", ".join(it.consumer for it in others)
        why = f"{why} Beside it {names} stay with Django, behind the gateway.".strip()
    return Verdict(NATIVE, why, others), found


def without(reason, sockets):
    """Returns the verdict on a project with another chat."""
    consumers = _consumers(sockets)
    fitting = [it.consumer for it in consumers if it.fits]
    if fitting:
        return Verdict(HOSTED, f"Not native: {reason}.", consumers)
    why = "no consumer was found in ASGI_APPLICATION" if not consumers else "none of its consumers fits to be hosted"
    return Verdict(NEITHER, f"Not native: {reason}; and {why}.", consumers)


def other_chat(verdict, left_out=0):
    """Makes the one row that replaces all that follow from another chat."""
    more = f" ({left_out} rows follow from that; --all shows them)" if left_out else ""
    advice = "Leave it with Django; see the verdict."
    return Finding(BREAKS, "chat", "another chat", f"{verdict.why.rstrip('.')}{more}", advice)


def _gathered(verdict, found):
    return verdict, [other_chat(verdict, len(found))]


def not_native(project):
    """Returns the reason why this is another chat than Chatferry's; empty if it is that one."""
    for model, _ in project.models.pairs():
        if model._meta.pk.get_internal_type() != "UUIDField":
            return f"{model.__name__} is keyed by {model._meta.pk.get_internal_type()}, and Chatferry's tables by UUIDs"
    consumer = project.consumer
    if project.socket and consumer.readable:
        speaks = ESSENTIAL in consumer.frames and ESSENTIAL in consumer.commands
        if not speaks:
            kinds = ", ".join(sorted(consumer.commands | consumer.frames.keys())) or "none with a `type`"
            return f"{project.socket.consumer.__name__} has frames of its own ({kinds}) and no `{ESSENTIAL}`"
    elif project.rest is None:
        return "neither its consumer nor its API was found"
    return ""


def _consumers(sockets):
    return tuple(_judged(socket) for socket in sockets)


def _judged(socket):
    cls = socket.consumer
    name = f"{cls.__module__}.{cls.__qualname__}"
    return Consumer(name, socket.route, *_fitness(cls), *_level(cls))


def _level(cls):
    """Returns the level at which a worker serves a consumer class, and why not at a lower one."""
    from chatferry_worker import classes, states

    why = classes.look_at(cls).why
    if why:
        return "awake", why
    why = states.why_not(cls)
    return ("parked", why) if why else ("hibernated", "")


def _fitness(cls):
    """Judges whether a consumer class can be hosted; returns the reason too."""
    from channels.consumer import AsyncConsumer, SyncConsumer

    if not issubclass(cls, (AsyncConsumer, SyncConsumer)):
        return False, "not one of Channels' consumers"
    sources, unread = source.read_classes(cls)
    if unread:
        return False, f"the source of {', '.join(unread)} cannot be read"
    for read in sources:
        if any(isinstance(loop.test, ast.Constant) and loop.test.value for loop in read.nodes(ast.While)):
            return False, "it runs an endless loop for each socket"
        if any(source.call_name(call) in HOLDS for call in read.nodes(ast.Call)):
            return False, "it holds a thread or a process for each socket"
    calls = {source.call_name(call) for read in sources for call in read.nodes(ast.Call)}
    if issubclass(cls, SyncConsumer):
        return True, "synchronous: a thread for each call"
    if calls & {"create_task", "ensure_future"}:
        return True, "it starts tasks, so it has to stay awake"
    return True, "asynchronous, without tasks or threads"
