"""What a message costs when there is more of something: CPU time of Chatferry, MariaDB and Redis together, by /proc.

A query that walks through more than it shows costs the database and not its client. CPU time depends on the machine but
hardly on what else runs on it, and the points of one curve are compared with each other only. A curve grows faster than
its work if the last point costs GROWS times what the cheapest before it does.
"""

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import plot
from load import command, load
from measured import SERVICES, Machine
from shell import Failed, start, stop
from table import number

GROWS = 2.0
# The picture of tests/bench/README.md.
SHOWN = Path(__file__).resolve().parent.parent / "curves.svg"
OURS = next(service for service in SERVICES if service.name == "Chatferry")
# Messages a second: far from what it can do, so that batches are what they are.
RATE = 300
# Sockets that one process is given; it may open 20,000 files.
MOST = 18_000
SETTINGS = {"WS__PING_INTERVAL_S": 3600, "SERVER__MAX_CONNECTIONS": 19_000}


@dataclass
class Curve:
    title: str
    # (how many there are, microseconds of CPU for the unit of work)
    points: list

    #: Of the line to compare with.
    bound_words = f"{GROWS:g} times the cheapest"

    @property
    def bound(self):
        """The most that the last point may cost: a multiple of the cheapest before it."""
        return GROWS * min(value for _, value in self.points[:-1] or self.points)

    @property
    def grows(self):
        return self.points[-1][1] > self.bound


def micros(figures, work):
    """Microseconds of CPU for each unit of work; a point with faults is no point."""
    wrong = {name: figures[name] for name in ("lost", "doubled", "unstored", "ended", "failed") if figures.get(name)}
    if wrong or not work:
        raise Failed(f"{wrong or 'nothing was done'}")
    return figures["cpu_s"] / work * 1e6


def sizes(quick, *all_of_them):
    """With quick the largest are left out."""
    return all_of_them[:-1] if quick else all_of_them


def conversations(machine, seconds, quick):
    """So many rows, and so many groups in Redis; in up to 2000 of them people sit and talk."""
    url, there = machine.database(OURS), 0
    for count in sizes(quick, 10, 100, 1000, 10_000, 100_000):
        open_ones = min(count, 2000)
        machine.fill(url, [[f"many-{count}-%", "bob", count - there]])
        machine.groups(there, count)
        there = count
        with machine.running(OURS, **SETTINGS) as server:
            figures = load("talk", server, machine.pids(), conversations=open_ones, rate=RATE, seconds=seconds)
            yield count, micros(figures, figures["messages"])


def sockets(machine, seconds, quick):
    """So many idle sockets beside 20 that talk."""
    for count in sizes(quick, 100, 1000, 5000, MOST):
        with machine.running(OURS, **SETTINGS) as server:
            talking = {"conversations": 10, "members": 2, "rate": RATE}
            figures = load("talk", server, machine.pids(), **talking, others=count, seconds=seconds)
            yield count, micros(figures, figures["messages"])
    if not quick:
        yield 40_000, over_processes(machine, seconds)


def over_processes(machine, seconds):
    """40,000 sockets over three processes; what a message costs all of them, in conversations of the first."""
    share = 40_000 // 3
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(machine.running(OURS, **SETTINGS)) for _ in range(3)]
        for server in servers[1:]:
            holding = command("hold", to=server.address, sockets=share, seconds=3600)
            process = start(holding, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(stop, process)
            until_open(server, share)
        talking = {"conversations": 10, "members": 2, "rate": RATE}
        figures = load("talk", servers[0], machine.pids(), **talking, others=share, seconds=seconds)
        return micros(figures, figures["messages"])


def until_open(server, count, longest_s=300):
    deadline = time.monotonic() + longest_s
    while server.metric("chatferry_ws_open") < count:
        if time.monotonic() > deadline:
            raise Failed(f"{count} sockets do not open")
        time.sleep(0.5)


def members(machine, seconds, quick):
    """So many sockets in one conversation; the work is a delivery."""
    for count in sizes(quick, 2, 10, 100, 1000, 5000):
        rate = max(4, min(RATE, 20_000 // count))
        with machine.running(OURS, **SETTINGS) as server:
            figures = load("talk", server, machine.pids(), members=count, rate=rate, seconds=seconds)
            yield count, micros(figures, figures["deliveries"])


def saying(machine, seconds, quick):
    """So many messages in the conversation that is talked in."""
    for count, number_of in histories(machine, quick):
        with machine.running(OURS, **SETTINGS) as server:
            figures = load("talk", server, machine.pids(), conversation=number_of, members=2, rate=RATE, seconds=seconds)
            yield count, micros(figures, figures["messages"])


def joining(machine, seconds, quick):
    """So many messages told to a newcomer; the work is a message told."""
    for count, number_of in histories(machine, quick):
        if count < 1000:
            continue
        with machine.running(OURS, **SETTINGS) as server:
            if count <= 10_000:
                figures = load("come", server, machine.pids(), conversation=number_of, history=count, at_once=2, seconds=seconds)
                yield count, micros(figures, figures["answers"] * count)
            else:
                figures = load("history", server, machine.pids(), conversation=number_of)
                yield count, micros(figures, figures["messages"])


def histories(machine, quick):
    url = machine.database(OURS)
    for count in sizes(quick, 0, 1000, 10_000, 100_000, 1_000_000):
        key = f"history-{count}"
        kept = machine.filled[url]
        if key not in kept:
            kept[key] = machine.fill(url, [[key, "bob", count]])[0]
        yield count, kept[key]


def storing(name):
    """So many rows in the table, each stored by the server itself; the work is a message at full speed, and what it
    takes is time. MariaDB's pool is what it is if nobody sets it, and holds half a million rows."""
    service = next(service for service in SERVICES if service.name == name)

    def points(_, seconds, quick):
        with contextlib.ExitStack() as stack:
            machine = Machine(stack, pool="128M")
            server = stack.enter_context(machine.running(service, **SETTINGS))
            there = 0
            for count in sizes(quick, 10_000, 100_000, 1_000_000, 10_000_000):
                while there < count:
                    there += talked(server, seconds)["messages"]
                figures = talked(server, seconds)
                there += figures["messages"]
                yield count, figures["seconds"] / figures["messages"] * 1e6

    return points


def talked(server, seconds):
    figures = load("talk", server, conversations=1000, in_flight=2, seconds=seconds)
    micros(figures, figures["messages"])
    return figures


CURVES = {
    "CPU of a message, µs, with so many conversations": conversations,
    "CPU of a message, µs, with so many sockets (40 000 of them in three processes)": sockets,
    "CPU of a delivery, µs, with so many members": members,
    # Before the next, which makes these histories longer.
    "CPU of a message told to a newcomer, µs, in a history of so many": joining,
    "CPU of a message, µs, after a history of so many": saying,
    "time of a message at full speed, µs, with so many rows in MariaDB": storing("Chatferry"),
    "time of a message at full speed, µs, with so many rows in PostgreSQL": storing("Chatferry, PostgreSQL"),
    "time of a message at full speed, µs, with so many rows in SQLite": storing("Chatferry, SQLite"),
}


def measure(machine, options, directory):
    """Draws and prints the curves; returns the exit code."""
    drawn, broken = [], []
    for title, points in CURVES.items():
        curve = Curve(title, [])
        print(f"\n{title}", flush=True)
        try:
            for count, value in points(machine, 2 if options.quick else 6, options.quick):
                curve.points.append((count, value))
                print(f"{count:>10,}  {number(value):>8}", flush=True)
        except Failed as reason:
            print(f"FAILED: {reason}", flush=True)
            broken.append(title)
        if curve.points:
            drawn.append(curve)
        if curve.points and curve.grows:
            print(f"GROWS: the last point costs more than {GROWS} times the cheapest", flush=True)
    picture = plot.curves(drawn)
    (directory / "curves.svg").write_text(picture, encoding="utf-8")
    print(f"\n{directory / 'curves.svg'}")
    if options.update and not broken:
        SHOWN.write_text(picture, encoding="utf-8")
    return 1 if broken else 0
