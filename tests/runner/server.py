"""A chatferry binary on a free port and a SQLite file of its own."""

import contextlib
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path

from shell import ROOT, Failed, scratch, start, stop

START_S = 120


def release_binary():
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    return ROOT / target / "release" / "chatferry"


@contextlib.contextmanager
def serving(**settings):
    """The address of a server that is `running`."""
    with running(**settings) as (address, _):
        yield address


@contextlib.contextmanager
def running(**settings):
    """The address and process id of a server that is stopped at the end; it must then drain and exit with 0.

    Settings are named as in the environment, without their prefix: WS__QUEUE_MESSAGES="16".
    """
    directory = Path(tempfile.mkdtemp(prefix="server-", dir=scratch()))
    names = {f"CHATFERRY__{name}": value for name, value in settings.items()}
    names |= {"CHATFERRY__SERVER__BIND": "127.0.0.1:0", "CHATFERRY__SERVER__DRAIN_S": "2"}
    log = directory / "log"
    with log.open("wb") as errors:
        process = start([release_binary(), "serve"], directory, names, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield address_of(process, log), process.pid
    except Failed:
        print(f"the server's log ends with:\n{log_end(log)}", flush=True)
        raise
    finally:
        code = stop(process, START_S)
    if code != 0:
        raise Failed(f"the server ended with exit code {code}:\n{log_end(log)}")
    if "panicked" in log.read_text(errors="replace"):
        raise Failed(f"the server panicked:\n{log_end(log)}")


def address_of(process, log):
    """Reads the one line that the server prints when it listens."""
    deadline, line = time.monotonic() + START_S, b""
    while not line.endswith(b"\n") and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.1)[0]:
            byte = os.read(process.stdout.fileno(), 1)
            if not byte:
                break
            line += byte
    if b" listens on http://" not in line:
        raise Failed(f"the server did not start:\n{log_end(log)}")
    return line.split()[-1].decode()


def log_end(log):
    return log.read_text(errors="replace")[-3000:]
