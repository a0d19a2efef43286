#!/usr/bin/env python3
"""`systemctl` and `journalctl` for a machine without systemd: as much of them as the guide of a move asks for.

A unit is started as its file says: by its user, in its directory, with its variables; `reload` does its ExecReload.
What it prints goes to /run/stand-in/UNIT.log.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

RUN = Path("/run/stand-in")


class Unit:
    def __init__(self, name):
        self.name = name.removesuffix(".service")
        self.log, self.note = RUN / f"{self.name}.log", RUN / f"{self.name}.pid"
        text = Path(f"/etc/systemd/system/{self.name}.service").read_text(encoding="utf-8")
        self.said = dict(re.findall(r"(?m)^(\w+)=(.*)$", text))

    def pid(self):
        return int(self.note.read_text(encoding="utf-8"))

    def variables(self):
        file = Path(self.said["EnvironmentFile"].lstrip("-"))
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        pairs = (shlex.split(line)[0].partition("=") for line in lines if "=" in line and not line.startswith("#"))
        return {"PATH": os.environ["PATH"], **{name: value for name, _, value in pairs}}

    def start(self):
        home = Path(self.said["WorkingDirectory"])
        home.mkdir(parents=True, exist_ok=True)
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                shlex.split(self.said["ExecStart"]),
                cwd=home,
                env=self.variables(),
                user=number_or_name(self.said["User"]),
                group=number_or_name(self.said["Group"]),
                extra_groups=[],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.note.write_text(str(process.pid), encoding="utf-8")
        # As `Type=notify` would: until it says that it listens.
        while not re.search(rb"(?i)listen(s|ing) on", self.log.read_bytes()[before:]):
            if process.poll() is not None:
                sys.exit(f"{self.name} has ended:\n{self.log.read_text(encoding='utf-8')}")
            time.sleep(0.1)

    def reload(self):
        before = self.log.stat().st_size
        command = self.said["ExecReload"].replace("$MAINPID", str(self.pid()))
        subprocess.run(shlex.split(command), check=True)
        # As `Type=notify` would: until it has said so.
        while self.log.stat().st_size == before:
            time.sleep(0.1)

    def stop(self):
        os.kill(self.pid(), signal.SIGTERM)
        while Path(f"/proc/{self.pid()}").exists() and self.is_alive():
            time.sleep(0.1)

    def is_alive(self):
        """Not one that has ended and waits to be asked how."""
        return " Z " not in Path(f"/proc/{self.pid()}/stat").read_text(encoding="utf-8")


def number_or_name(text):
    return int(text) if text.isdigit() else text


def systemctl(verb, *units):
    if verb == "daemon-reload":
        return
    for unit in (unit for unit in units if unit != "--now"):
        if (verb, unit) == ("reload", "nginx"):
            reload_nginx()
        else:
            getattr(Unit(unit), {"enable": "start"}.get(verb, verb))()


def reload_nginx():
    """Returns when the workers with the old configuration are gone."""
    master = Path("/run/nginx.pid").read_text(encoding="utf-8").strip()
    workers = lambda: set(Path(f"/proc/{master}/task/{master}/children").read_text(encoding="utf-8").split())  # noqa: E731
    old = workers()
    subprocess.run(["nginx", "-s", "reload"], check=True)
    while old & workers():
        time.sleep(0.1)


def journalctl(_, unit, *lines):
    text = Unit(unit).log.read_text(encoding="utf-8").splitlines()
    print("\n".join(text[-int(lines[1]) :] if lines else text))


if __name__ == "__main__":
    RUN.mkdir(exist_ok=True)
    {"systemctl": systemctl, "journalctl": journalctl}[Path(sys.argv[0]).name](*sys.argv[1:])
