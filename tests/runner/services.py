"""Database servers and Redis of this run's own: on free ports, with files in its scratch directory, and empty.

Each gives the URL that the reference and Chatferry both understand, and is stopped at the end. Processes of Django and
Chatferry themselves are started by the kit (compat/kit/servers.py), whose modules are on the path once this is imported.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import neighbours
import provision
from shell import ROOT, Failed, scratch, start, stop, succeeds

sys.path.append(str(ROOT / "compat" / "kit"))

from servers import free_port, tied  # noqa: E402

# Nothing takes as long: MySQL has not made its files after two minutes on a machine that is full.
START_S = 600
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
    program, home = provision.mysql(), directory()
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
        # To become another account undoes what `tied` has set.
        account = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "TERM")
    prepare(home, *account, programs / "initdb", "-N", "-U", "chat", "-A", "trust", "-E", "UTF8", "--no-locale", "data")
    at, listen = ("-h", "127.0.0.1", "-p", str(port)), ("-c", "listen_addresses=127.0.0.1")
    with running(home, *account, programs / "postgres", "-D", "data", "-p", str(port), "-k", ".", *listen) as server:
        wait(home, server, lambda: succeeds(programs / "pg_isready", "-q", *at))
        prepare(home, programs / "createdb", "-U", "chat", *at, "chat")
        yield f"postgres://chat@127.0.0.1:{port}/chat"


DATABASES = (sqlite, mariadb, mysql, postgresql)


@contextlib.contextmanager
def redis():
    program, port, home = neighbours.redis(), free_port(), directory()
    with running(home, program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", home) as server:
        wait(home, server, lambda: listens(port))
        yield f"redis://127.0.0.1:{port}"


def directory():
    return Path(tempfile.mkdtemp(prefix="service-", dir=scratch()))


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
        process = start(tied(command), home, stdout=log, stderr=log)
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
