"""The servers and clients beside Chatferry that the Rust tests start for themselves: databases, Redis, live Python.

What cannot be had is left out here; the tests that need it then say that they are skipped.
"""

import os
from pathlib import Path

from provision import command, debian, mysql, python, venv
from shell import ROOT, Skipped


def found():
    """The variables that name what was found."""
    for ask in (postgresql, pgbouncer, mariadb, redis):
        attempt(ask)
    variables = {
        "CHATFERRY_TEST_PYTHON": attempt(python),
        "CHATFERRY_TEST_CHANNELS": attempt(channels),
        "CHATFERRY_TEST_COLLECTOR": attempt(collector),
        "CHATFERRY_TEST_MYSQLD": attempt(mysql),
    }
    # Whoever has servers of their own to test with has named them already.
    return {name: str(value) for name, value in variables.items() if value and name not in os.environ}


def attempt(ask):
    try:
        return ask()
    except Skipped as reason:
        print(reason, flush=True)
        return None


def postgresql():
    if not any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        debian("postgresql")


def pgbouncer():
    return command("pgbouncer")


def mariadb():
    command("my_print_defaults")
    return command("mariadbd")


def redis():
    return command("redis-server")


def channels():
    """Pythons with the oldest and the newest channels_redis that are spoken to."""
    files = sorted(ROOT.glob("tests/it/redis/requirements-*.txt"))
    return ":".join(str(venv(f"channels-{file.stem.partition('-')[2]}", file)) for file in files)


def collector():
    """A Python with OpenTelemetry's own classes of its messages."""
    return venv("collector", ROOT / "tests" / "it" / "telemetry" / "traces" / "requirements.txt")
