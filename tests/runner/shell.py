"""Commands and servers in sessions of their own, so that all they started can be stopped with them."""

import atexit
import contextlib
import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the tests write and people may read: logs, pictures, steps.json.
KEPT = ROOT / "target" / "tests"
# How far commands that compute stand back for others, as in `nice`: they get a third of what others get.
BEHIND = 5

_running = []
_spent = {}


class Failed(Exception):
    """A step did not hold. `output` are the lines that its command printed, `details` those of them that tell why."""

    def __init__(self, text, output=()):
        super().__init__(text)
        self.output = output
        self.details = failures(output) if output else []


class Skipped(Exception):
    """A step could not be tried; the text says what was missing."""


@functools.cache
def scratch():
    """The directory for everything temporary of this process, removed at its end.

    Those of the steps are in that of the run, under short names: the path of a Unix socket has 107 bytes at most.
    """
    prefix = "chatferry-tests-"
    is_step = Path(tempfile.gettempdir()).name.startswith(prefix)
    directory = Path(tempfile.mkdtemp(prefix="" if is_step else prefix))
    # Database servers work in it under accounts of their own.
    directory.chmod(0o755)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def environment(**settings):
    """The caller's environment without what would reach into a server under test."""
    dropped = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORT", "DJANGO_SETTINGS_MODULE")
    kept = {k: v for k, v in os.environ.items() if k not in dropped and not k.upper().startswith("CHATFERRY__")}
    ours = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "TMPDIR": str(scratch())}
    return {**kept, **ours, **settings}


def stand_back():
    """Lets everything that this process starts from now on take what others leave of the processors."""
    os.nice(BEHIND)


@contextlib.contextmanager
def spending(kind):
    """Books the time that the block takes, and the processor time of commands that end in it, as `kind`.

    Blocks do not nest, and one process has one at a time.
    """
    began, busy = time.monotonic(), cpu_seconds()
    try:
        yield
    finally:
        seconds, cpu = _spent.get(kind, (0, 0))
        _spent[kind] = seconds + time.monotonic() - began, cpu + cpu_seconds() - busy


def spent():
    """Kind → seconds and processor seconds that `spending` booked."""
    return dict(_spent)


def cpu_seconds():
    """Processor seconds of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start(command, cwd=ROOT, env=None, **pipes):
    """Starts a command in a session of its own. Its environment is the caller's, and `env`."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **pipes,
    )
    if (behind := os.nice(0)) > 0:
        # Linux may share the processors between sessions first, and between the processes of one only then.
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/autogroup").write_text(str(behind), encoding="ascii")
    _running.append(process)
    return process


def stop(process, patience_s=10):
    """Ends the process and everything of its session; returns its exit code."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            _signal(process, number)
            try:
                process.wait(timeout=patience_s)
            except subprocess.TimeoutExpired:
                continue
    _signal(process, signal.SIGKILL)
    if process in _running:
        _running.remove(process)
    return process.returncode


def _signal(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


@atexit.register
def stop_everything():
    for process in list(_running):
        stop(process)


def forget(process):
    """Leaves a process that has ended out of `stop_everything`."""
    _running.remove(process)


def end_on_signals():
    """Ends this process on SIGTERM and SIGHUP as an error would, so that servers and browsers are stopped."""

    def end(number, _):
        # A second one must not end the stopping.
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def run(*command, cwd=ROOT, timeout_s=1800, **env):
    """Runs a command, its output shown as it comes.

    Raises Failed unless it exits with 0 in time.
    """
    _run(command, cwd, timeout_s, env)


def run_reading(*command, hidden=lambda line: False, **env):
    """Like run, for as long as it takes; returns the lines that the command printed. `hidden` ones are not shown."""
    return _run(command, ROOT, None, env, hidden)


def _run(command, cwd, timeout_s, env, hidden=lambda line: False):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    process = start(command, cwd, env, **pipes)
    # Its end ends the output too.
    clock = threading.Timer(timeout_s, stop, [process]) if timeout_s else None
    lines = []
    try:
        if clock:
            clock.start()
        for line in process.stdout:
            if not hidden(line):
                print(line, end="", flush=True)
            lines.append(line.rstrip())
        code = process.wait()
    finally:
        if clock:
            clock.cancel()
        stop(process)
    if code != 0:
        raise Failed(f"`{' '.join(str(part) for part in command)}`: exit code {code}", lines)
    return lines


# How a test that failed begins to tell why: Rust's, Python's unittest, the clients'; and what does not compile.
FAILURE = re.compile(r"---- .+ stdout ----|FAIL(: |  )|ERROR: |error(\[E|: )")


def failures(lines, most=75):
    """What of the output tells which tests failed, and why; its end if nothing does."""
    places = [place for place, line in enumerate(lines) if FAILURE.match(line)] or [max(0, len(lines) - 15)]
    each = max(3, min(15, most // len(places)))
    told = []
    for place, following in zip(places, [*places, len(lines)][1:], strict=True):
        block = [line[:300] for line in lines[place:following] if line and not line.startswith("note: ")]
        # Rust tells why at the beginning, Python at the end.
        end = each // 2
        told += block if len(block) <= each else block[: each - end] + block[-end:]
    return told[:most]


def succeeds(*command, **env):
    """Whether a command exits with 0. Shows nothing."""
    try:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = start(command, env=env, **quiet)
    except OSError:
        return False
    try:
        return process.wait(timeout=600) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        stop(process)
