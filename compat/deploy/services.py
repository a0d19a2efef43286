"""MariaDB and Redis of a test's own, on free ports and gone with it."""

import socket
import subprocess
import time

from fronts import program
from pair import directory
from servers import free_port, tied

START_TIMEOUT_S = 60


def redis(case):
    """The URL of an empty Redis."""
    port = free_port()
    command = [needed(case, "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir"]
    run(case, [*command, str(directory(case))])
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), START_TIMEOUT_S).close()
            return f"redis://127.0.0.1:{port}"
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def mariadb(case):
    """The URL of an empty database."""
    home, port = directory(case), free_port()
    data = f"--datadir={home}/data"
    server, install = needed(case, "mariadbd"), needed(case, "mariadb-install-db")
    made = [install, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", data, "--user=root"]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    case.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    files = [data, f"--socket={home}/socket", f"--pid-file={home}/pid", f"--port={port}", "--bind-address=127.0.0.1"]
    run(case, [server, "--no-defaults", "--user=root", *files, "--character-set-server=utf8mb4"])
    connect(case, port).cursor().execute("CREATE DATABASE chat CHARACTER SET utf8mb4")
    return f"mysql://root@127.0.0.1:{port}/chat"


def connect(case, port, **options):
    """A connection to the server, which may have been started a moment ago."""
    try:
        import MySQLdb
    except ImportError:
        case.skipTest("no mysqlclient")
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return MySQLdb.connect(host="127.0.0.1", port=port, user="root", charset="utf8mb4", **options)
        except MySQLdb.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def needed(case, name):
    found = program(name)
    if not found:
        case.skipTest(f"{name} is not installed")
    return found


def run(case, command):
    process = subprocess.Popen(tied(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    case.addCleanup(process.wait)
    case.addCleanup(process.terminate)
