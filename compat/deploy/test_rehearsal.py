"""The guide of a move followed word by word: its blocks of commands, in their order, in one shell.

It happens in a network and a file system of its own: the guide's addresses and paths are the real ones, and nothing
outside changes. nginx and HAProxy are real; `systemctl` and `journalctl` are `stand_in.py`, which starts what the units
say. Left out are the lines of LEFT_OUT.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from fronts import HERE, program
from pair import PATIENCE_S, ROOT, binary, directory
from servers import REFERENCE, clean_environment, migrate_reference

#: It writes into a test copy of both servers: `compat/kit` has tests of its own.
LEFT_OUT = ("python compat/kit/play.py",)
#: Directories that the guide changes: copies lie over the machine's own for as long as the test takes.
CHANGED = ("/etc", "/usr/local/bin", "/var/lib", "/run", "/srv", "/var/log")
SETTINGS = 'from service.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, "chatferry_compat"]\n'
FRONT, DJANGO, CHATFERRY = "http://127.0.0.1", "http://127.0.0.1:8000", "http://127.0.0.1:8001"


def blocks():
    """Pairs of a heading and the commands of a block below it, of the steps of the guide."""
    guide = (ROOT / "compat/MOVE.md").read_text(encoding="utf-8")
    steps = guide.partition("\n## Step 0: see\n")[2].partition("\n## With the share in nginx or HAProxy\n")[0]
    for part in re.split(r"\n## ", f"Step 0: see\n{steps}"):
        for block in re.findall(r"(?ms)^```\n(.*?)^```$", part):
            kept = [line for line in block.splitlines(True) if not line.startswith(LEFT_OUT)]
            yield part.partition(":")[0], "".join(kept)


def ask(url, body=None):
    """(status, answer)."""
    request = urllib.request.Request(url, body and json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Shell:
    """One bash, whose directory and variables stay from block to block."""

    END = "the end of the block"

    def __init__(self, home, environment):
        command = ["bash", "--noprofile", "--norc"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, cwd=home, env=environment, text=True, **pipes)

    def run(self, commands):
        """Returns their output. Raises if one of the commands fails."""
        trap = "trap 'echo \"FAILED: $BASH_COMMAND\"' ERR"
        self.process.stdin.write(f'{trap}\n{commands}\necho "{self.END} $?"\n')
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith(self.END):
                break
        text = "".join(lines)
        print(f"$ {commands}\n{text}", flush=True)
        if "FAILED: " in text or lines[-1:] != [f"{self.END} 0\n"]:
            raise AssertionError(text)
        return text

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Rehearsal:
    """Inside: the machine of an operator, on which Django is served by a unit of its own."""

    def __init__(self, home, chatferry):
        self.home = Path(home)
        for path in CHANGED:
            copy = self.home / "machine" / path.lstrip("/")
            copy.mkdir(parents=True)
            if path == "/etc":
                shutil.copytree(path, copy, symlinks=True, dirs_exist_ok=True)
            subprocess.run(["mount", "--bind", copy, path], check=True)
        subprocess.run([program("ip"), "link", "set", "lo", "up"], check=True)
        self.lay_out(chatferry)
        tools = self.home / "tools"
        environment = clean_environment(
            PATH=f"{tools}:/usr/local/bin:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
            PYTHONPATH=str(ROOT / "compat/chatferry_compat"),
            DJANGO_SETTINGS_MODULE="service.trial",
            DATABASE_URL="sqlite:///var/lib/chat/chat.sqlite3",
        )
        self.shell = Shell(self.home / "project", environment)

    def lay_out(self, chatferry):
        """The Django project with its database and its unit, our repository beside it, and the stand-ins."""
        project, tools = self.home / "project", self.home / "tools"
        shutil.copytree(REFERENCE, project, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*"))
        (project / "service/trial.py").write_text(SETTINGS, encoding="utf-8")
        (project / "compat").symlink_to(ROOT / "compat")
        (project / "target/release").mkdir(parents=True)
        shutil.copy(chatferry, project / "target/release/chatferry")
        database = Path("/var/lib/chat/chat.sqlite3")
        database.parent.mkdir(parents=True)
        migrate_reference(f"sqlite://{database}")
        for path in (database.parent, *database.parent.iterdir()):
            path.chmod(0o777)
        for path in ("/var/log/nginx", "/var/lib/nginx"):
            Path(path).mkdir()
        tools.mkdir()
        for name in ("systemctl", "journalctl"):
            (tools / name).symlink_to(HERE / "stand_in.py")
        # Its packages are here already.
        (tools / "pip").write_text('#!/bin/sh\ntest "$1" = install && test -f "$2/pyproject.toml"\n', encoding="utf-8")
        (tools / "pip").chmod(0o755)
        units = Path("/etc/systemd/system")
        units.mkdir(parents=True, exist_ok=True)
        unit = (HERE / "systemd/django-chat.service").read_text(encoding="utf-8")
        # Its Python may be where only we may look.
        unit = unit.replace("User=django", f"User={os.geteuid()}").replace("Group=django", f"Group={os.getegid()}")
        (units / "django-chat.service").write_text(unit, encoding="utf-8")
        Path("/srv/chat/.venv/bin").mkdir(parents=True)
        Path("/srv/chat/.venv/bin/daphne").symlink_to(Path(sys.executable).with_name("daphne"))
        Path("/srv/chat/service").symlink_to(project / "service")
        Path("/srv/chat/chat").symlink_to(project / "chat")
        Path("/etc/django-chat.env").write_text(f"DATABASE_URL=sqlite://{database}\n", encoding="utf-8")

    def metric(self, name):
        found = re.findall(rf"(?m)^{name}(?:\{{.*\}})? (\S+)$", ask(f"{CHATFERRY}/metrics")[1])
        return sum(map(float, found))

    def chat(self):
        """People write and read through the front; which of the two has answered is for others to look at."""
        status, answer = ask(f"{FRONT}/api/chat/conversations/", {"participant1_id": "a", "participant2_id": os.urandom(4).hex()})
        assert status == 201, (status, answer)
        messages = f"{FRONT}/api/chat/conversations/{json.loads(answer)['id']}/messages/"
        status, answer = ask(f"{messages}send/", {"sender_id": "a", "content": "hello"})
        assert status == 201, (status, answer)
        assert "hello" in ask(messages)[1]

    def follow(self):
        after = {
            "Step 0": self.after_the_look,
            "Step 1": self.after_the_front,
            "Step 2": self.after_the_shadow,
            "Steps 3, 4 and 5": self.after_a_share,
            "Step 6": self.after_django,
        }
        self.shell.run("nginx\nsystemctl start django-chat")
        done = []
        for step, commands in blocks():
            done.append(step)
            print(f"== {step}", flush=True)
            if "haproxy" in commands:
                # The other front: it would listen where nginx does.
                self.shell.run("cp compat/deploy/haproxy/gateway.cfg /etc/haproxy/haproxy.cfg")
                commands = commands.partition(" && ")[0] + "\n"
            printed = self.shell.run(commands)
            after[step](printed, commands)
        assert list(dict.fromkeys(done)) == list(after), done
        self.shell.run("systemctl start django-chat")
        self.back()

    def after_the_look(self, printed, commands):
        if "chatferry check" in commands:
            steps = re.findall(r"(?m)^(\w+) +(\w[\w :]*\w)  ", printed)
            assert {"bind", "store: rights", "upstream"} <= {name for _, name in steps}, printed
            assert not [name for word, name in steps if word == "failed"], printed

    def after_the_front(self, printed, commands):
        if "admin/login" in commands:
            assert '"status":"ok"' in printed, printed
            assert '"upstream":"ok"' in printed, printed
            assert "HTTP/1.1 200" in printed, printed
        if "nginx" in commands:
            self.chat()
            assert self.metric("chatferry_gateway_requests_total") > 2
            assert self.metric("chatferry_messages_stored_total") == 0

    def after_the_shadow(self, printed, _):
        assert re.search(r"gateway\.shadow_percent = 5 \(file .*\): in force now", printed), printed
        assert self.metric("chatferry_gateway_shadow_percent") == 5

    def after_a_share(self, _, commands):
        """And later 50 and 100."""
        for percent in (10, 50, 100):
            self.shell.run(commands.replace("= 10/", f"= {percent}/"))
            assert self.metric("chatferry_gateway_rollout_percent") == percent
            self.chat()
        assert self.metric("chatferry_messages_stored_total") > 0

    def after_django(self, printed, _):
        assert "chatferry_gateway_ws_open 0" in printed, printed
        before = self.metric("chatferry_messages_stored_total")
        self.chat()
        assert self.metric("chatferry_messages_stored_total") == before + 1

    def back(self):
        """The first two lines of the table at the top."""
        guide = (ROOT / "compat/MOVE.md").read_text(encoding="utf-8")
        to_nothing, stop = re.findall(r"(?m)^\| (?:it is worse|Chatferry itself).*?\| `(.*?)`", guide)
        self.shell.run(to_nothing)
        assert self.metric("chatferry_gateway_rollout_percent") == 0
        self.chat()
        self.shell.run(stop)
        self.chat()


class Guide(unittest.TestCase):
    def test_every_command_of_the_guide_works_in_its_place(self):
        chatferry = binary()
        if chatferry is None:
            self.skipTest("no chatferry binary: build it, or name it in CHATFERRY_BINARY")
        for name in ("unshare", "ip", "useradd", "nginx", "haproxy", "curl"):
            if not program(name):
                self.skipTest(f"{name} is not installed")
        if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False).returncode:
            self.skipTest("no network and file system of its own: this takes root")
        inside = [sys.executable, "-B", __file__, "--inside", directory(self), chatferry.resolve()]
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", *inside]
        done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-6000:])
        self.assertIn("== Step 6", done.stdout)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        Rehearsal(*sys.argv[2:]).follow()
    else:
        unittest.main()
