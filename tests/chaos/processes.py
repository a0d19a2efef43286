"""Operating system processes of a run: started, stopped for a while, killed and started again."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import services
import shell


class Process:
    """A program that may be started many times, with one log.

    `up` says that it is meant to run: one that ended while it was is a fault of its own.
    """

    def __init__(self, name, command, directory, environment=None):
        self.name, self.command, self.directory, self.environment = name, command, directory, environment or {}
        self.log = Path(directory) / f"{name}.log"
        self.up = False
        self._process = None

    def start(self):
        with self.log.open("ab") as log:
            command = services.tied(self.command)
            self._process = shell.start(command, self.directory, self.environment, stdout=log, stderr=subprocess.STDOUT)
        self.up = True

    def start_again(self):
        """Starts it, unless another fault that ended it has: a drain may take longer than its plan says."""
        if self.exit_code() is not None:
            self.start()

    @property
    def pid(self):
        return self._process.pid

    def exit_code(self):
        """None while it runs."""
        return self._process.poll()

    def kill(self):
        self.up = False
        self._signal(signal.SIGKILL)
        self._process.wait()

    def terminate(self):
        """Asks it to end; `exit_code` says when it has."""
        self.up = False
        self._signal(signal.SIGTERM)

    @contextlib.contextmanager
    def killed(self):
        """It is killed, and started again afterwards."""
        self.kill()
        try:
            yield
        finally:
            self.start_again()

    @contextlib.contextmanager
    def stopped(self):
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def end(self):
        if self._process:
            self.up = False
            # What is frozen does not hear that it should end.
            self._signal(signal.SIGKILL)
            shell.stop(self._process)

    def log_end(self):
        return self.log.read_text(errors="replace")[-2000:]

    def _signal(self, number):
        for pid in family(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def family(pid):
    """The process and all it has started: those of PostgreSQL have sessions of their own."""
    found, parents = [pid], {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold anything in brackets: the state, then the parent.
            fields = file.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(int(fields[1]), []).append(int(file.parent.name))
    for one in found:
        found += parents.get(one, [])
    return found
