"""A copy of the reference service to change and ask, and the Chatferry binary that must read what comes out."""

import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import traceback
import unittest
from pathlib import Path

# What every command of Django imports, whatever the settings are. Once here it is there in each fork. Daphne's server
# comes first, as it chooses Twisted's reactor.
import daphne.server  # noqa: F401, I001
import channels_redis.core  # noqa: F401
import django.core.management  # noqa: F401
import django.db.backends.sqlite3.base  # noqa: F401
import rest_framework.serializers  # noqa: F401
import tomllib

PACKAGE = Path(__file__).resolve().parent.parent
REPOSITORY = PACKAGE.parent.parent
REFERENCE = PACKAGE.parent / "reference"

sys.path.insert(0, str(PACKAGE))

from chatferry_compat import toml  # noqa: E402

#: Settings of the copy: the reference's, the app, and what a test adds.
TRIAL = """from service.settings import *
INSTALLED_APPS = [*INSTALLED_APPS, "chatferry_compat"]
"""
FOREIGN = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORT", "DJANGO_SETTINGS_MODULE")


def clean_environment(**added):
    kept = {k: v for k, v in os.environ.items() if k not in FOREIGN and not k.startswith("CHATFERRY__")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(PACKAGE), **added}


def binary():
    """The one of CHATFERRY_BINARY, else the newest that was built here; None without any."""
    named = os.environ.get("CHATFERRY_BINARY")
    built = [REPOSITORY / "target" / kind / "chatferry" for kind in ("release", "debug")]
    found = [Path(named)] if named else [path for path in built if path.exists()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


class Project:
    """A copy of the reference with changes. `edits` are (file, text, instead)."""

    def __init__(self, case, *edits, settings="", files=None):
        directory = tempfile.TemporaryDirectory(prefix="chatferry-compat-")
        case.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "reference"
        shutil.copytree(REFERENCE, self.path, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*"))
        (self.path / "service/trial.py").write_text(TRIAL + settings, encoding="utf-8")
        for name, text in (files or {}).items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text, encoding="utf-8")
        for name, text, instead in edits:
            source = (self.path / name).read_text(encoding="utf-8")
            case.assertIn(text, source, f"{name} is not what this test changes")
            (self.path / name).write_text(source.replace(text, instead), encoding="utf-8")

    def manage(self, *arguments, **environment):
        """Runs `manage.py` in a fork: most of the time of a new process is its imports."""
        environment = clean_environment(DJANGO_SETTINGS_MODULE="service.trial", **environment)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                os._exit(run_here(self.path, arguments, environment))
            _, status = os.waitpid(child, 0)
            texts = (self.text_of(file) for file in (out, err))
            return subprocess.CompletedProcess(arguments, os.waitstatus_to_exitcode(status), *texts)

    @staticmethod
    def text_of(file):
        file.seek(0)
        return file.read().decode()


def run_here(path, arguments, environment):
    """The exit code of a project's `manage.py` in this process."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(path)
    sys.path.insert(0, str(path))
    sys.argv = ["manage.py", *arguments]
    # Those of the tests, which a runner may have replaced.
    sys.stdout, sys.stderr = open(1, "w", encoding="utf-8"), open(2, "w", encoding="utf-8")
    try:
        runpy.run_path("manage.py", run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


class ProjectCase(unittest.TestCase):
    maxDiff = None

    def settings_of(self, project, *arguments):
        """(the parsed file, its text) that chatferry_settings prints."""
        done = project.manage("chatferry_settings", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return tomllib.loads(done.stdout), done.stdout

    def findings_of(self, project, *arguments):
        """{(severity, subject)} that chatferry_check tells; the exit code must agree."""
        done = project.manage("chatferry_check", "--json", *arguments)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        document = json.loads(done.stdout)
        self.assertEqual(done.returncode == 0, document["same"])
        return {(finding["severity"], finding["subject"]) for finding in document["findings"]}

    def assert_loads(self, text, **environment):
        """Chatferry must take every setting of a file; one of a later version is a warning that does not count."""
        done = self.chatferry("config", text, **environment)
        self.assertEqual(done.returncode, 0, f"{done.stderr}\n{text}")
        warnings = [line for line in done.stderr.splitlines() if "is not served by this version yet" not in line]
        self.assertEqual(warnings, [], text)
        return done.stdout

    def assert_refused(self, text, *keys):
        """`chatferry serve` must not start before each of these settings is decided."""
        for key in keys:
            parsed = tomllib.loads(text)
            for other in keys:
                if other != key:
                    take_out(parsed, other)
            done = self.chatferry("serve", toml.document(entries_of(parsed)))
            self.assertNotEqual(done.returncode, 0, text)
            self.assertIn(key, done.stderr)

    def chatferry(self, command, text, **environment):
        program = binary()
        if program is None:
            self.skipTest("no chatferry binary: build it, or name it in CHATFERRY_BINARY")
        with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            command = [program, command, "--config", file.name]
            environment = clean_environment(**environment)
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def entries_of(parsed, section=""):
    """Yields the entries of a parsed file."""
    for name, value in parsed.items():
        if not isinstance(value, dict):
            yield toml.Entry(f"{section}{name}", value)
    for name, value in parsed.items():
        if isinstance(value, dict):
            yield from entries_of(value, f"{section}{name}.")


def take_out(parsed, key):
    """Takes a setting out of a parsed file."""
    *sections, name = key.split(".")
    for section in sections:
        parsed = parsed[section]
    del parsed[name]
