"""An application of Channels on Daphne, on uvicorn and hosted: what a socket, an event and a frame cost.

The application is tests/bench/hosted: rooms of Channels' tutorial, an echo, and the original's chat with its tables.
"""

import shlex
import time

from cells import MEMBERS, TALKERS, Cell, Figure, answers, faults, messages
from load import load
from measured import HERE, Service, python
from server import release_binary
from servers import REFERENCE
from shell import ROOT, Failed
from table import BASE, number, ratio, spread, table

APPLICATION = "hosted.asgi:application"
#: Idle sockets are looked at when those that can hibernate do so. They are many, as a worker has room for those that came
#: last, which are awake yet.
IDLE_S, IDLE_TIMES = 20, 5
#: Frames that are echoed in a second, of so many sockets in turn.
ECHOED, ECHOING = 500, 20


def python_path(*directories):
    return "PYTHONPATH=" + ":".join(map(str, directories))


def served(*command):
    return ("env", python_path(HERE.parent), python(), "-m", *command, APPLICATION), REFERENCE


def daphne(port):
    return served("daphne", "-v", "0", "-b", "127.0.0.1", "-p", port)


def uvicorn(port):
    return served("uvicorn", "--port", port, "--no-access-log", "--log-level", "warning", "--lifespan", "off")


def hosted(_):
    path = python_path(HERE.parent, ROOT / "compat" / "chatferry_compat")
    worker = f"env {shlex.quote(path)} {shlex.quote(str(python()))} -m chatferry_worker {APPLICATION}"
    return (release_binary(), "host", "--command", worker), REFERENCE


#: A server, and the settings that it is started with.
HOSTED = [
    (Service(BASE, "mariadb", daphne), {}),
    (Service("uvicorn", "mariadb", uvicorn), {}),
    (Service("Chatferry, parked", "mariadb", hosted), {}),
    (Service("Chatferry, hibernated", "mariadb", hosted), {"HOST__HIBERNATE": "true"}),
]


def tutorial(consumer):
    return {"protocol": "tutorial", "consumer": consumer}


def idle_memory(server, _, size):
    held = load("hold", server, sockets=IDLE_TIMES * size.idle_sockets, seconds=IDLE_S, **tutorial("room"))
    if held["ended"]:
        raise Failed(f"{held['ended']} sockets ended")
    return Figure((held["resident_kib"] - held["before_kib"]) / held["sockets"])


def connects(server, _, size):
    return answers(load("come", server, conversation="room/come", seconds=size.seconds, **tutorial("room")))


def deliveries(consumer):
    def measure(server, _, size):
        talk = {"members": MEMBERS, "talkers": TALKERS, "in_flight": 1, "seconds": size.seconds}
        figures = load("talk", server, **talk, **tutorial(consumer))
        return Figure(figures["deliveries"] / figures["seconds"], faults(figures))

    return measure


def echo(server, _, size):
    talk = {"conversations": ECHOING, "rate": ECHOED, "seconds": 2 * size.seconds}
    figures = load("talk", server, **talk, **tutorial("echo"))
    return Figure(figures["latency"]["p99_ms"], faults(figures))


CELLS = [
    Cell("memory of all processes per idle socket", "KiB", idle_memory, more_is_better=False),
    Cell("new sockets", "1/s", connects),
    Cell(f"deliveries in a room of {MEMBERS}, what is sent depends on the event", "1/s", deliveries("room"), counts=True),
    Cell(f"deliveries in a room of {MEMBERS}, each member gets its own", "1/s", deliveries("own"), counts=True),
    Cell(f"an echo at {ECHOED} frames/s, 99th percentile", "ms", echo, more_is_better=False, counts=True),
    Cell("messages that the ORM stores, 50 conversations with 8 in flight", "1/s", messages, counts=True),
]
#: Factors by which a cell should be better than Daphne's: parked, and hibernated.
AIMS = dict(zip((cell.name for cell in CELLS), [(5, 8), (4, 4), (20, 20), (4, 4), (3, 3), (1, 1)]))


def measure(machine, options, size, directory):
    """Fills the table; returns the exit code. A missed aim is printed, and no failure."""
    found = {cell.name: {} for cell in CELLS}
    began, rounds = time.monotonic(), options.rounds or size.rounds
    for turn in range(rounds):
        if turn and time.monotonic() - began > options.minutes * 60:
            print(f"no time for more than {turn} rounds", flush=True)
            break
        for service, settings in HOSTED:
            print(f"round {turn + 1} of {rounds}: {service.name}", flush=True)
            with machine.running(service, **settings) as server:
                for cell in CELLS:
                    figures = found[cell.name].setdefault(service.name, [])
                    try:
                        figures.append(cell.measure(server, None, size))
                    except Failed as reason:
                        figures.append(Figure(None, [str(reason)]))
                    print(f"  {cell.name:<68} {number(figures[-1].value):>8} {cell.unit:<4} {'; '.join(figures[-1].faults)}", flush=True)
    spreads = {cell: {name: spread(made) for name, made in of.items()} for cell, of in found.items()}
    text = table(CELLS, [service.name for service, _ in HOSTED], spreads)
    (directory / "hosted.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")
    return tell(spreads)


def tell(spreads):
    """Prints which aims are missed, and which runs failed."""
    failed = []
    for cell in CELLS:
        of = spreads[cell.name]
        for (service, _), aim in zip(HOSTED[2:], AIMS[cell.name]):
            times = ratio(cell, of[service.name], of[BASE])
            if times is not None and times < aim:
                print(f"MISSED: {service.name}, {cell.name}: {number(times)} × of {aim} ×")
            failed += [f"{service.name}, {cell.name}: {fault}" for fault in of[service.name].faults]
    print("\n".join(f"FAILED: {line}" for line in failed))
    return 1 if failed else 0
