"""Commands and servers in sessions of their own, so that all they started can be stopped with them."""

import atexit
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What is installed for the tests and may be kept from run to run.
KEPT = ROOT / "target" / "tests"

_running = []


class Failed(Exception):
    """A step did not hold."""


class Skipped(Exception):
    """A step could not be tried; the text says what was missing."""


@functools.cache
def scratch():
    """The directory for everything temporary of this run, removed at its end."""
    directory = Path(tempfile.mkdtemp(prefix="chatferry-tests-"))
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


def run(*command, cwd=ROOT, timeout_s=1800, **env):
    """Runs a command, its output shown as it comes.

    Raises Failed unless it exits with 0 in time.
    """
    process = start(command, cwd, env)
    try:
        code = process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        code = f"none within {timeout_s} s"
    finally:
        stop(process)
    if code != 0:
        raise Failed(f"`{' '.join(str(part) for part in command)}`: exit code {code}")


def run_counting(*command, **env):
    """Like run; returns how many lines say that something was skipped."""
    process = start(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    skipped = 0
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            skipped += line.startswith("skipped:")
        code = process.wait()
    finally:
        stop(process)
    if code != 0:
        raise Failed(f"`{' '.join(str(part) for part in command)}`: exit code {code}")
    return skipped


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
