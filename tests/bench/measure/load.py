"""The client that loads a server, built and called: see tests/bench/load."""

import json
import subprocess

from provision import bench
from shell import Failed, environment, start, stop

# Nothing that it is asked for takes longer than this beside what it is asked to take.
PATIENCE_S = 300


def binary():
    """The path of the built client."""
    return bench("load")


def command(mode, **options):
    pairs = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [binary(), mode, *pairs]


def load(mode, server, beside=(), **options):
    """The figures that one call of the client prints. Memory and CPU time of the server are among them.

    What the processes `beside` it take is added to the server's own.
    """
    pids = ",".join(map(str, [*server.pids(), *beside]))
    process = start(
        command(mode, to=server.address, pids=pids, **options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        told, errors = process.communicate(timeout=PATIENCE_S + 2 * float(options.get("seconds", 0)))
    except subprocess.TimeoutExpired:
        raise Failed(f"`load {mode}` did not end") from None
    finally:
        stop(process)
    if process.returncode:
        raise Failed(f"`load {mode}`: {errors.strip()[-300:]}")
    return json.loads(told)


def bare(members, in_flight, seconds):
    """Deliveries a second of a loop that only writes."""
    serving = subprocess.Popen(
        command("bare", members=members, at_once=in_flight), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        address = serving.stdout.readline().strip()
        asked = command("listen", to=address, members=members, seconds=seconds)
        heard = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    finally:
        serving.kill()
        serving.wait()
    figures = json.loads(heard.stdout)
    return figures["deliveries"] / figures["seconds"]
