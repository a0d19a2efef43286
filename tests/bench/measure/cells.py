"""The rows of the table: what is measured of each server, and how."""

from collections.abc import Callable
from dataclasses import dataclass, field

from load import load
from shell import Failed


@dataclass(frozen=True)
class Size:
    """How much is done for one cell."""

    seconds: float
    idle_sockets: int
    history: int
    rounds: int


FULL = Size(seconds=6, idle_sockets=2000, history=100_000, rounds=3)
QUICK = Size(seconds=2, idle_sockets=400, history=10_000, rounds=1)

# Of the conversation in which deliveries are counted.
MEMBERS, TALKERS = 400, 8

# Messages a second, where it is asked how long one takes.
RATE = 100

# Conversations that a storm of new sockets is for, and how many of them ask at once.
STORM, AT_ONCE = 100, 256

# Messages in a conversation that newcomers read, and that REST reads.
SHORT = 50


@dataclass
class Figure:
    # None if it could not be measured.
    value: float | None
    # What went wrong meanwhile, in words: messages lost, doubled.
    faults: list = field(default_factory=list)


@dataclass(frozen=True)
class Cell:
    name: str
    unit: str
    # Given a server, the Fixtures of its database, and the size.
    measure: Callable
    more_is_better: bool = True
    # What the ratio to Daphne should at least be.
    aim: float | None = None
    # Whether lost and doubled messages are counted.
    counts: bool = False


@dataclass
class Fixtures:
    """Conversations that are in the database before anything is measured."""

    short: str
    long: str
    # Takes part in ten conversations of so many messages each.
    user: str
    # A hundred conversations of so many messages each.
    many: list
    # Statements that the database has read with so far; `None` if it does not count them.
    reads: Callable


def fixtures(machine, url, size):
    """Made once in each database."""
    kept = machine.filled[url]
    if not kept:
        wanted = [["short", "bob", SHORT], ["long", "bob", size.history]]
        wanted += [["reader", f"friend {number}", SHORT] for number in range(10)]
        wanted += [[f"one of many {number}", "bob", SHORT] for number in range(STORM)]
        short, long, *others = machine.fill(url, wanted)
        kept["fixtures"] = Fixtures(short, long, user="reader", many=others[10:], reads=lambda: machine.reads(url))
    return kept["fixtures"]


def faults(figures):
    """In words, what a talk has lost and doubled."""
    names = {"lost": "deliveries lost", "unstored": "messages not stored", "doubled": "doubled", "ended": "sockets ended"}
    return [f"{figures[name]} {words}" for name, words in names.items() if figures[name]]


def idle_memory(server, _, size):
    figures = load("hold", server, sockets=size.idle_sockets, seconds=1)
    if figures["ended"]:
        raise Failed(f"{figures['ended']} sockets ended")
    return Figure((figures["resident_kib"] - figures["before_kib"]) / figures["sockets"])


def messages(server, _, size):
    figures = load("talk", server, conversations=50, in_flight=8, seconds=size.seconds)
    return Figure(figures["messages"] / figures["seconds"], faults(figures))


def deliveries(server, _, size):
    figures = load("talk", server, members=MEMBERS, talkers=TALKERS, in_flight=1, seconds=size.seconds)
    return Figure(figures["deliveries"] / figures["seconds"], faults(figures))


def latency(server, _, size):
    # The hundredth that takes longest are few: it takes more of them for a figure that says something.
    figures = load("talk", server, conversations=20, members=2, rate=RATE, seconds=3 * size.seconds)
    return Figure(figures["latency"]["p99_ms"], faults(figures))


def newcomers(server, fixtures, size):
    return answers(load("come", server, conversation=fixtures.short, history=SHORT, seconds=size.seconds))


def storm(server, fixtures, size):
    return answers(stormed(server, fixtures, size))


def storm_reads(server, fixtures, size):
    """Statements that read, for each socket."""
    before = fixtures.reads()
    if before is None:
        return Figure(None)
    figures = stormed(server, fixtures, size)
    return Figure((fixtures.reads() - before) / max(1, figures["answers"]))


def stormed(server, fixtures, size):
    """Everybody comes back at once."""
    return load("come", server, conversation=",".join(fixtures.many), history=SHORT, at_once=AT_ONCE, seconds=size.seconds)


def rest(path, wanted):
    def measure(server, fixtures, size):
        where = path.format(user=fixtures.user, short=fixtures.short)
        return answers(load("ask", server, path=f"/api/chat/{where}", history=wanted, seconds=size.seconds / 2))

    return measure


def answers(figures):
    if not figures["answers"]:
        raise Failed(f"no answer, {figures['failed']} failed")
    wrong = [f"{figures['failed']} failed"] if figures["failed"] else []
    return Figure(figures["answers"] / figures["seconds"], wrong)


def long_history(server, fixtures, size):
    figures = load("history", server, conversation=fixtures.long)
    wrong = [] if figures["messages"] == size.history else [f"{figures['messages']} of {size.history} messages"]
    return Figure(figures["seconds"], wrong)


def long_history_memory(server, fixtures, size):
    figures = load("history", server, conversation=fixtures.long)
    return Figure((figures["peak_kib"] - figures["before_kib"]) / 1024)


CELLS = [
    # First, while the server is fresh.
    Cell("memory per idle socket", "KiB", idle_memory, more_is_better=False, aim=10),
    Cell("messages stored and delivered, 50 conversations with 8 in flight", "1/s", messages, aim=50, counts=True),
    Cell("deliveries in one conversation with 400 sockets", "1/s", deliveries, aim=60, counts=True),
    Cell("send to receive at 100 messages/s, 99th percentile", "ms", latency, more_is_better=False, aim=30, counts=True),
    Cell("new sockets, each with a history of 50", "1/s", newcomers, aim=20),
    Cell(f"a storm of new sockets, {AT_ONCE} at once in {STORM} conversations", "1/s", storm, aim=40),
    Cell("statements that read for a socket in it", "", storm_reads, more_is_better=False),
    Cell("REST: a user's 10 conversations", "1/s", rest("users/{user}/conversations/", SHORT), aim=30),
    Cell("REST: a conversation of 50 messages", "1/s", rest("conversations/{short}/", SHORT), aim=30),
    Cell("REST: 50 messages", "1/s", rest("conversations/{short}/messages/", SHORT), aim=30),
    Cell("a long history told to one client", "s", long_history, more_is_better=False, aim=10),
    Cell("memory that a long history takes at its peak", "MiB", long_history_memory, more_is_better=False),
]
