"""Plays packages from PyPI on Daphne and on Chatferry, parked, hibernated and awake, and compares what was seen.

    python compat/consumers/packages/run.py --binary target/release/chatferry [PACKAGE…]

Needs redis-server and requirements.txt.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = Path(__file__).resolve().parent
sys.path[:0] = [str(HOME.parent)]

import run  # noqa: E402
from played import PLAYED  # noqa: E402


class Packages(run.Site):
    """A server with the project of all packages, and a copy of its database."""

    home = HOME
    probe = ("/ws/plain/", '{"action": "retrieve", "request_id": 1}')

    def __init__(self, name, directory):
        super().__init__(name, directory)
        shutil.copy(directory / "made.sqlite3", self.directory / "django.sqlite3")


class Hibernating(Packages):
    hibernates = True


def make_database(directory):
    path = os.pathsep.join((str(HOME), str(HOME.parents[1] / "chatferry_compat")))
    environment = run.clean_environment(PYTHONPATH=path, CONSUMERS_DATABASE=str(directory / "made.sqlite3"))
    subprocess.run([sys.executable, "-m", "project.make"], env=environment, check=True)


def makers(directory, binary):
    def chatferry(name, *settings, kind=Packages, **environment):
        return lambda: run.chatferry(directory, binary, name, *settings, kind=kind, **environment)

    return {
        "daphne": lambda: run.daphne(directory, Packages),
        "parked": chatferry("parked"),
        "hibernated": chatferry("hibernated", "host.hibernate=true", kind=Hibernating),
        "awake": chatferry("awake", CONSUMERS_AWAKE="1"),
    }


def play(make, shapes):
    """What is seen of each package, and why something is left over; on a server of its own."""
    site = make()
    try:
        seen = asyncio.run(run.play(site, shapes))
        left = 0 if site.name == "daphne" else run.left_open(site)
        return seen, [f"{site.name}: {left} sockets are still open"] if left else []
    finally:
        site.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--keep", action="store_true", help="leave the logs and say where they are")
    parser.add_argument("packages", nargs="*", choices=[[], *PLAYED], default=[])
    options = parser.parse_args()
    shapes = {name: PLAYED[name] for name in options.packages or PLAYED}
    directory = Path(tempfile.mkdtemp(prefix="chatferry-packages-"))
    make_database(directory)
    servers = makers(directory, options.binary.resolve())
    want, failed = play(servers.pop("daphne"), shapes)
    for server, make in servers.items():
        got, left = play(make, shapes)
        failed += left
        failed += [f"{name} on {server}" for name in shapes if not run.compare(name, server, want[name], got[name])]
    print(f"{len(shapes)} packages on daphne, {', '.join(servers)}: {len(failed)} differ")
    return run.finish(failed, directory, options.keep)


if __name__ == "__main__":
    sys.exit(main())
