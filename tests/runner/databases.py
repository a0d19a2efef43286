"""Database servers of this run's own: on free ports, their files in its scratch directory, with one empty database.

Each gives the URL that the reference and Chatferry both understand, and is stopped at the end.
"""

import contextlib
import getpass
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import neighbours
from shell import Failed, scratch, start, stop, succeeds

START_S = 120
MYSQL_DATABASE = "CREATE DATABASE IF NOT EXISTS chat CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\n"


@contextlib.contextmanager
def sqlite():
    yield f"sqlite://{directory() / 'chat.sqlite3'}"


@contextlib.contextmanager
def mariadb(**variables):
    """`variables` are the server's own, as they are named in its manual."""
    program, home = neighbours.mariadb(), directory()
    own = mysql_options(home)
    prepare(home, "mariadb-install-db", *own, "--auth-root-authentication-method=normal", "--skip-test-db")
    with mysqld(home, program, *own, *(f"--{name}={value}" for name, value in variables.items())) as url:
        yield url


@contextlib.contextmanager
def mysql():
    program, home = neighbours.mysql(), directory()
    own = mysql_options(home)
    prepare(home, program, *own, "--initialize-insecure")
    with mysqld(home, program, *own) as url:
        yield url


def mysql_options(home):
    return "--no-defaults", f"--datadir={home / 'data'}", f"--user={getpass.getuser()}"


@contextlib.contextmanager
def mysqld(home, program, *options):
    port, first = free_port(), home / "first.sql"
    first.write_text(MYSQL_DATABASE)
    files = (f"--socket={home / 'socket'}", f"--pid-file={home / 'pid'}", f"--init-file={first}")
    with running(home, program, *options, *files, "--bind-address=127.0.0.1", f"--port={port}") as server:
        wait(home, server, lambda: listens(port))
        yield f"mysql://root@127.0.0.1:{port}/chat"


@contextlib.contextmanager
def postgresql():
    neighbours.postgresql()
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1].parent
    port, home, account = free_port(), directory(), ()
    if os.geteuid() == 0:
        # It refuses to be run by root.
        shutil.chown(home, "postgres", "postgres")
        account = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")
    prepare(home, *account, programs / "initdb", "-N", "-U", "chat", "-A", "trust", "-E", "UTF8", "--no-locale", "data")
    at, listen = ("-h", "127.0.0.1", "-p", str(port)), ("-c", "listen_addresses=127.0.0.1")
    with running(home, *account, programs / "postgres", "-D", "data", "-p", str(port), "-k", ".", *listen) as server:
        wait(home, server, lambda: succeeds(programs / "pg_isready", "-q", *at))
        prepare(home, programs / "createdb", "-U", "chat", *at, "chat")
        yield f"postgres://chat@127.0.0.1:{port}/chat"


KINDS = (sqlite, mariadb, mysql, postgresql)


def directory():
    return Path(tempfile.mkdtemp(prefix="database-", dir=scratch()))


def free_port():
    """One that the kernel gives to no outgoing connection before the server is there to take it."""
    for port in random.sample(range(10_000, 32_000), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Failed("no port is free")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def prepare(home, *command):
    """Runs what makes a server's files. Raises Failed, with the end of what it said, if it does not."""
    with running(home, *command) as process, contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(START_S)
    if process.returncode:
        raise Failed(f"`{command[0]}` failed:\n{log_end(home)}")


@contextlib.contextmanager
def running(home, *command):
    with (home / "log").open("ab") as log:
        process = start(command, home, stdout=log, stderr=log)
    try:
        yield process
    finally:
        stop(process)


def wait(home, server, ready):
    deadline = time.monotonic() + START_S
    while not ready():
        if server.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"`{server.args[0]}` does not start:\n{log_end(home)}")
        time.sleep(0.1)


def log_end(home):
    return (home / "log").read_text(errors="replace")[-3000:]
