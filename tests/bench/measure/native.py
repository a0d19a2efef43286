"""chatferry.v1 beside Django's protocol on the same server: what it costs, and how many come back after a restart.

What Django's protocol costs is in the table, beside Daphne.
"""

import time

from cells import MEMBERS, STORM, TALKERS, SHORT, faults, fixtures
from load import load
from measured import SERVICES

OURS = next(service for service in SERVICES if service.name == "Chatferry")
NATIVE = "chatferry.v1"
#: Sockets that come back to a process that has just been started, and how long that may take.
RETURNING, RETURN_S = 15_000, 60
SOCKETS = {"SERVER__MAX_CONNECTIONS": 19_000}


def idle_kib(machine, size, **protocol):
    """Memory of an idle socket, in a process of its own: one that has closed sockets has memory for others."""
    with machine.running(OURS, **SOCKETS) as server:
        held = load("hold", server, sockets=size.idle_sockets, seconds=1, **protocol)
    return (held["resident_kib"] - held["before_kib"]) / held["sockets"]


def talk(server, wrong, **options):
    """Figures of a talk in each protocol. Whatever was lost or doubled is added to `wrong`."""
    told = []
    for protocol in ("", NATIVE):
        sent = server.metric_sum("chatferry_ws_sent_bytes_total")
        figures = load("talk", server, **options, **({"protocol": protocol} if protocol else {}))
        figures["bytes"] = server.metric_sum("chatferry_ws_sent_bytes_total") - sent
        wrong += faults(figures)
        told.append(figures)
    return told


def row(what, old, new, unit):
    print(f"{what:<58} {old:>12,.2f} {new:>12,.2f}  {unit:<8} {new / old:5.2f} ×")


def per_second(name):
    return lambda figures: figures[name] / figures["seconds"]


def measure(machine, options, size):
    """Prints the figures; returns the exit code."""
    wrong = []
    print(f"{'':<58} {'Django':>12} {NATIVE:>12}")
    with machine.running(OURS, **SOCKETS) as server:
        ready = fixtures(machine, machine.database(OURS), size)
        old, new = talk(server, wrong, conversations=50, in_flight=8, seconds=size.seconds)
        row("messages, 50 conversations with 8 in flight", *map(per_second("messages"), (old, new)), "1/s")
        row("bytes sent for each", old["bytes"] / old["messages"], new["bytes"] / new["messages"], "B")
        row("server's CPU for each", *(1e6 * it["cpu_s"] / it["messages"] for it in (old, new)), "µs")
        old, new = talk(server, wrong, members=MEMBERS, talkers=TALKERS, in_flight=1, seconds=size.seconds)
        row(f"deliveries in a conversation of {MEMBERS}", *map(per_second("deliveries"), (old, new)), "1/s")
    idle = (idle_kib(machine, size, **protocol) for protocol in ({}, {"protocol": NATIVE}))
    row("memory of an idle socket", *idle, "KiB")
    # Another process, as after a restart.
    with machine.running(OURS, **SOCKETS) as server:
        count = size.idle_sockets if options.quick else RETURNING
        # A cursor as the server makes them.
        came = {"protocol": NATIVE, "conversation": ",".join(ready.many), "after": f"{time.time_ns() // 1000}.{0:032x}"}
        before = ready.reads()
        back = load("hold", server, sockets=count, members=max(1, count // STORM), seconds=1, **came)
        reads = (ready.reads() - before) / count
    print(f"\n{count:,} sockets of {STORM} conversations are back in {back['opening_s']:.1f} s, one after the other,")
    print(f"with {reads:.2f} statements each; {SHORT} messages in each conversation")
    wrong += [f"{back['ended']} sockets ended"] if back["ended"] else []
    wrong += [f"longer than {RETURN_S} s"] if back["opening_s"] > RETURN_S else []
    print(f"WRONG: {', '.join(wrong)}" if wrong else "nothing is lost, doubled or late")
    return 1 if wrong else 0
