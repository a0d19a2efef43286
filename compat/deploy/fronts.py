"""Starts the samples of this folder as they are, on free ports: nginx and HAProxy before two servers.

Only addresses and paths of files are replaced. Each front has `url`, `set_percent` and `stop`.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The kit's modules are on the path once this one is imported.
sys.path.insert(0, str(HERE.parent / "kit"))

from servers import free_port, tied  # noqa: E402

START_TIMEOUT_S = 300

NGINX = """
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/conf.d/*.conf;
    include {directory}/site.conf;
}}
"""


def program(name):
    """Debian keeps servers where only root's PATH leads."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


class Front:
    """A proxy in a directory of its own; `django` and `chatferry` are ports."""

    def __init__(self, directory, django, chatferry):
        self.directory = Path(directory)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ports = {"127.0.0.1:8000": f"127.0.0.1:{django}", "127.0.0.1:8001": f"127.0.0.1:{chatferry}"}
        self.process = None
        self.write()

    def sample(self, name, **replaced):
        text = (HERE / name).read_text(encoding="utf-8")
        for old, new in {**self.ports, **replaced}.items():
            text = text.replace(old, new)
        return text

    def start(self):
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(tied(self.command()), stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        self.stop()
        raise RuntimeError((self.directory / "log").read_text(encoding="utf-8"))

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=START_TIMEOUT_S)

    def check(self):
        """What the program itself says of the configuration: (good, text)."""
        done = subprocess.run(self.check_command(), capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stdout + done.stderr


class Nginx(Front):
    program = "nginx"

    def write(self):
        (self.directory / "conf.d").mkdir(parents=True, exist_ok=True)
        self.main = self.directory / "nginx.conf"
        self.main.write_text(NGINX.format(directory=self.directory))
        (self.directory / "conf.d/upstreams.conf").write_text(self.sample("nginx/chatferry-upstreams.conf"))
        locations = self.directory / "locations.conf"
        locations.write_text(self.sample("nginx/chatferry-locations.conf"))
        site = {
            "listen 80": f"listen 127.0.0.1:{self.port}",
            "/etc/nginx/snippets/chatferry-locations.conf": str(locations),
        }
        (self.directory / "site.conf").write_text(self.sample("nginx/site.conf", **site))
        self.write_rollout(0)

    def write_rollout(self, percent, sampled=0):
        """Edits the file as the guide says: the line of the share, and at 100 % the paths without a conversation."""
        text = self.sample("nginx/chatferry-rollout.conf")
        if percent:
            text = re.sub(r"#10% ( +chat_chatferry;)", rf"{percent}% \1", text)
        if percent == 100:
            text = text.replace("default chat_django;", "default chat_chatferry;")
        if sampled:
            text = re.sub(r"#5% ( +yes;)", rf"{sampled}% \1", text)
        (self.directory / "conf.d/rollout.conf").write_text(text)

    def set_percent(self, percent, sampled=0):
        """A reload ends when only new workers listen; old ones keep their open sockets."""
        old = self._listening(lambda workers: workers)
        self.write_rollout(percent, sampled)
        subprocess.run([*self._base(), "-s", "reload"], check=True, capture_output=True)
        self._listening(lambda workers: workers and not workers & old)

    def _listening(self, wanted):
        """Waits until the workers that take connections are as wanted; the others say that they are shutting down."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            workers = {child for child in children if self._title(child) == "nginx: worker process"}
            if wanted(workers):
                return workers
            time.sleep(0.05)
        raise TimeoutError("nginx does not take its new configuration")

    @staticmethod
    def _title(process):
        """What a process calls itself: behind its loader and the loader's options, if it was started by one."""
        with contextlib.suppress(OSError):
            parts = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            return next((part.strip() for part in reversed(parts) if part.strip()), "")
        return ""

    def _base(self):
        return [
            program("nginx"),
            "-p",
            str(self.directory),
            "-e",
            str(self.directory / "error.log"),
            "-c",
            str(self.main),
        ]

    def command(self):
        return self._base()

    def check_command(self):
        return [*self._base(), "-t"]


class NginxGateway(Nginx):
    """Before the gateway, which has the share."""

    def write(self):
        (self.directory / "conf.d").mkdir(parents=True, exist_ok=True)
        self.main = self.directory / "nginx.conf"
        self.main.write_text(NGINX.format(directory=self.directory))
        site = {"listen 80": f"listen 127.0.0.1:{self.port}"}
        (self.directory / "site.conf").write_text(self.sample("nginx/gateway.conf", **site))


class Haproxy(Front):
    program = "haproxy"
    name = "haproxy/haproxy.cfg"

    def write(self):
        self.main = self.directory / "haproxy.cfg"
        self.admin = self.directory / "admin.sock"
        # A user who is not root may not have 200 000 files open.
        replaced = {
            "maxconn 100000": "maxconn 1000",
            "bind :80": f"bind 127.0.0.1:{self.port}",
            "/run/haproxy/admin.sock": str(self.admin),
        }
        self.main.write_text(self.sample(self.name, **replaced))

    def set_percent(self, percent):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.admin))
            admin.sendall(f"experimental-mode on; set var proc.chat_percent int({percent})\n".encode())
            admin.recv(4096)

    def command(self):
        return [program("haproxy"), "-db", "-f", str(self.main)]

    def check_command(self):
        return [program("haproxy"), "-c", "-f", str(self.main)]


class HaproxyGateway(Haproxy):
    """Before the gateway, which has the share."""

    name = "haproxy/gateway.cfg"
