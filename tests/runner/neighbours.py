"""The servers and clients beside Chatferry that the Rust tests start for themselves: databases, Redis, live Python.

What cannot be had is left out here; the tests that need it then say that they are skipped.
"""

import os
from pathlib import Path

from provision import S3, command, debian, mysql, node, python, venv
from shell import ROOT, Skipped


def found():
    """The variables that name what was found."""
    for ask in (postgresql, pgbouncer, mariadb, redis, nats, rabbitmq):
        attempt(ask)
    variables = {
        "CHATFERRY_TEST_PYTHON": attempt(python),
        "CHATFERRY_TEST_CHANNELS": attempt(channels),
        "CHATFERRY_TEST_COLLECTOR": attempt(collector),
        "CHATFERRY_TEST_FASTAPI": attempt(fastapi),
        "CHATFERRY_TEST_EVENTS": attempt(events),
        "CHATFERRY_TEST_MYSQLD": attempt(mysql),
        "CHATFERRY_TEST_S3": attempt(s3),
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


def nats():
    return command("nats-server")


def rabbitmq():
    return command("rabbitmqctl")


def channels():
    """Pythons with the oldest and the newest channels_redis that are spoken to."""
    files = sorted(ROOT.glob("tests/it/redis/requirements-*.txt"))
    return ":".join(str(venv(f"channels-{file.stem.partition('-')[2]}", file)) for file in files)


def s3():
    """An S3 server: a program of Node's."""
    node(S3)
    return S3 / "node_modules" / "s3rver" / "bin" / "s3rver.js"


def collector():
    """A Python with OpenTelemetry's own classes of its messages."""
    return venv("collector", ROOT / "tests" / "it" / "telemetry" / "traces" / "requirements.txt")


def fastapi():
    """Pythons with each generation of FastAPI that is answered for."""
    files = sorted(ROOT.glob("compat/fastapi/*.txt"))
    return ":".join(str(venv(f"fastapi-{file.stem}", file)) for file in files)


def events():
    """A Python with the usual clients of brokers."""
    return venv("events", ROOT / "tests" / "it" / "events" / "requirements.txt")
