"""Databases that fail on purpose: killed, paused, read-only, with a full disk, or locked by another program.

Each lives on a file system of its own in memory, which can be filled. Where none may be mounted there is no
full disk, and the run says so.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import neighbours
import services
import shell
import tables
from processes import Process
from servers import free_port

#: Of the file system of a server's files, and of an SQLite file.
SERVER_SIZE, FILE_SIZE = "600m", "200m"
#: Bytes that a full file system takes yet.
SLACK = 1 << 16
#: For a server to answer.
TRIES, BETWEEN_TRIES_S = 600, 0.2
#: Clients are not administrators, who may write to a read-only server.
ACCOUNT = "".join(
    f"CREATE USER IF NOT EXISTS 'chat'@'{host}' IDENTIFIED BY '';\nGRANT ALL ON chat.* TO 'chat'@'{host}';\n"
    # The second comes before the anonymous account of a fresh MariaDB.
    for host in ("%", "localhost")
)


class Unable(Exception):
    """A fault that cannot be made here."""


class Disk:
    """A directory that can be full."""

    def __init__(self, directory, size):
        self.directory, self.size = Path(directory), size
        self.mounted = False

    def make(self):
        self.directory.mkdir(parents=True)
        self.mounted = self._mount(f"size={self.size},mode=0755")

    def _mount(self, options):
        command = ("mount", "-t", "tmpfs", "-o", options, "chaos", self.directory)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    @contextlib.contextmanager
    def full(self):
        """Makes the file system as small as what is in it: nothing needs to be written for that."""
        if not self.mounted:
            raise Unable("no file system may be mounted")
        now = os.statvfs(self.directory)
        used = (now.f_blocks - now.f_bfree) * now.f_frsize
        if not self._mount(f"remount,size={used + SLACK}"):
            raise Unable("the file system cannot be made smaller")
        try:
            yield
        finally:
            self._mount(f"remount,size={self.size}")

    def remove(self):
        if self.mounted:
            subprocess.run(("umount", "--lazy", self.directory), capture_output=True, check=False)


class Sqlite:
    """One file, which all processes open."""

    name = "sqlite"
    port = None

    def __init__(self, directory):
        self.disk = Disk(directory / "disk", FILE_SIZE)
        self.file = self.disk.directory / "chat.sqlite3"

    async def start(self):
        self.disk.make()

    def url(self, _port):
        return f"sqlite://{self.file}"

    def rows(self, sql, *args):
        return tables.rows_of(f"sqlite://{self.file}", sql, args)

    @contextlib.asynccontextmanager
    async def locked(self):
        """Another program holds a write transaction."""
        connection = sqlite3.connect(self.file, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()

    async def ensure_up(self):
        pass

    def end(self):
        self.disk.remove()


class Server:
    """A database server: its files are copied from those made once for all runs, see `template`.

    Clients use TCP. The path of a Unix socket has 107 bytes at most, which a run's directory may take alone.
    """

    def __init__(self, directory):
        self.disk = Disk(directory / "disk", SERVER_SIZE)
        self.home = self.disk.directory
        self.port = free_port()
        self.process = Process("database", self.command(), directory)

    async def start(self):
        self.disk.make()
        await asyncio.to_thread(self.fill)
        self.process.start()
        for _ in range(TRIES):
            if await self.answers():
                return
            if self.process.exit_code() is not None:
                break
            await asyncio.sleep(BETWEEN_TRIES_S)
        raise shell.Failed(f"{self.name} does not start: {self.process.log_end()}")

    def fill(self):
        copy(template(self.name, self.initialise), self.home)
        # PostgreSQL insists on it.
        (self.home / "data").chmod(0o700)

    async def answers(self):
        try:
            await asyncio.to_thread(self.rows, "SELECT 1")
        except Exception:  # noqa: BLE001 - each driver has errors of its own
            return False
        return True

    async def ensure_up(self):
        """Waits until it answers after a fault; starts it again if it ended by itself, as one does whose disk was full."""
        for _ in range(TRIES):
            if await self.answers():
                return
            if self.process.exit_code() is not None:
                self.process.start()
            await asyncio.sleep(BETWEEN_TRIES_S)
        raise shell.Failed(f"{self.name} does not come back: {self.process.log_end()}")

    def rows(self, sql, *args):
        return tables.rows_of(self.admin_url, sql, args)

    def end(self):
        try:
            self.process.end()
        finally:
            self.disk.remove()


class Mysql(Server):
    name = "mysql"
    #: Administrators too.
    read_only = "super_read_only"
    small = ("--innodb-redo-log-capacity=8388608", "--disable-log-bin")

    @property
    def admin_url(self):
        return f"mysql://root@127.0.0.1:{self.port}/chat"

    def url(self, port):
        return f"mysql://chat@127.0.0.1:{port}/chat"

    @staticmethod
    def program():
        return neighbours.mysql()

    @classmethod
    def initialise(cls, home):
        services.prepare(home, cls.program(), *services.mysql_options(home), *cls.small, "--initialize-insecure")

    def fill(self):
        super().fill()
        self.first.write_text(services.MYSQL_DATABASE + ACCOUNT)

    @property
    def first(self):
        """Statements that it executes at each start."""
        return self.home / "first.sql"

    def command(self):
        # The socket has to be somewhere: this is within the data directory.
        files = ("--socket=socket", f"--pid-file={self.home / 'pid'}", f"--init-file={self.first}")
        network = ("--bind-address=127.0.0.1", f"--port={self.port}", "--max-connections=300")
        own = (*services.mysql_options(self.home), *self.small, *files, *network)
        return (self.program(), *own, *(("--mysqlx=OFF",) if self.name == "mysql" else ()))

    @contextlib.asynccontextmanager
    async def is_read_only(self):
        await asyncio.to_thread(self.rows, f"SET GLOBAL {self.read_only} = 1")
        try:
            yield
        finally:
            await self.ensure_up()
            for variable in {self.read_only, "read_only"}:
                await asyncio.to_thread(self.rows, f"SET GLOBAL {variable} = 0")


class Mariadb(Mysql):
    name = "mariadb"
    read_only = "read_only"
    small = ("--innodb-log-file-size=8M",)

    @staticmethod
    def program():
        return neighbours.mariadb()

    @classmethod
    def initialise(cls, home):
        own = services.mysql_options(home)
        rest = (*cls.small, "--auth-root-authentication-method=normal", "--skip-test-db")
        services.prepare(home, "mariadb-install-db", *own, *rest)


class Postgres(Server):
    name = "postgres"

    @property
    def admin_url(self):
        return f"postgres://chat@127.0.0.1:{self.port}/chat"

    def url(self, port):
        return f"postgres://chat@127.0.0.1:{port}/chat"

    @staticmethod
    def programs():
        neighbours.postgresql()
        return sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1].parent

    @staticmethod
    def account():
        # It refuses to be run by root.
        return ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups") if os.geteuid() == 0 else ()

    @classmethod
    def initialise(cls, home):
        if cls.account():
            shutil.chown(home, "postgres", "postgres")
        options = ("-N", "-U", "chat", "-A", "trust", "-E", "UTF8", "--no-locale")
        services.prepare(home, *cls.account(), cls.programs() / "initdb", *options, home / "data")
        single = (cls.programs() / "postgres", "--single", "-D", home / "data", "postgres")
        made = subprocess.run(
            (*cls.account(), *single), input="CREATE DATABASE chat\n", text=True, capture_output=True, check=False
        )
        if made.returncode:
            raise shell.Failed(f"no database could be made: {made.stderr[-2000:]}")

    def command(self):
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "32MB",
        }
        options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        return (*self.account(), self.programs() / "postgres", "-D", self.home / "data", *options)

    @contextlib.asynccontextmanager
    async def is_read_only(self):
        await self.make_read_only("on")
        try:
            yield
        finally:
            await self.ensure_up()
            await self.make_read_only("off")

    async def make_read_only(self, on):
        """For new sessions, and the old ones end."""
        others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'chat' AND pid <> pg_backend_pid()"
        )
        for sql in ("SET default_transaction_read_only = off", others):
            await asyncio.to_thread(self.alter, f"ALTER DATABASE chat SET default_transaction_read_only = {on}", sql)

    def alter(self, *statements):
        import psycopg

        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            for statement in statements:
                connection.execute(statement)


KINDS = {kind.name: kind for kind in (Sqlite, Mariadb, Mysql, Postgres)}


def template(name, initialise):
    """A directory with the files of a new server, made once and kept."""
    kept = shell.KEPT / "chaos" / name
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        # PostgreSQL works in it under an account of its own, which may not get into the clone.
        fresh = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=shell.scratch()))
        fresh.chmod(0o755)
        initialise(fresh)
        (fresh / "log").unlink(missing_ok=True)
        # Beside it at first: its place may be on another file system, and others may be looking.
        beside = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=kept.parent))
        copy(fresh, beside)
        try:
            beside.rename(kept)
        except OSError as error:
            shutil.rmtree(beside)
            # Another run was first.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    return kept


def copy(directory, into):
    """Copies what is in a directory, and its own owner and mode."""
    done = subprocess.run(("cp", "-a", f"{directory}/.", into), capture_output=True, text=True, check=False)
    if done.returncode:
        raise shell.Failed(f"{directory} cannot be copied: {done.stderr[-2000:]}")
