"""What the steps need and how it is had: Debian packages, Python and Node packages, cargo's tools.

Everything is asked for by the step that needs it and is not asked for twice. What cannot be had raises Skipped,
except for the toolchain itself.
"""

import functools
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from shell import KEPT, ROOT, Failed, Skipped, run, succeeds

# Command that shows that a Debian package is there → the package.
PACKAGES = {
    "cc": "build-essential",
    "chromium": "chromium",
    "haproxy": "haproxy",
    # The server without the service, which is started and stopped by the tests.
    "mariadbd": "mariadb-server-core",
    # `mariadb-install-db` calls it, and its package does not ask for it.
    "my_print_defaults": "mariadb-client-core",
    "nginx": "nginx-light",
    "node": "nodejs",
    "npm": "npm",
    "pkg-config": "pkg-config",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "redis-server": "redis-server",
    "valgrind": "valgrind",
}
KOREAN_FONT = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
# The reference's pins are Python 3.11's, which is Debian 12's.
PYTHONS = ("/usr/bin/python3.11", "python3.11", "python3")
# What cargo believes the registry by.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PYTHON_HEADERS = Path("/usr/include/python3.11/Python.h")
CARGO_TOOLS = {"cargo-deny": "0.20.2", "cargo-machete": "0.9.2"}
CLIENTS = ROOT / "tests" / "clients"
# Of the reference, the kit and the clients.
REQUIREMENTS = (*ROOT.glob("compat/*/requirements*.txt"), CLIENTS / "requirements.txt")


@functools.cache
def debian_update():
    as_root("apt-get", "update", "-qq")


def as_root(*command):
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    # In run level 1 a package's own service is not started: the tests start servers of their own.
    run(*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", *command)


def debian(*packages):
    """Installs Debian packages."""
    if not shutil.which("apt-get") or (os.geteuid() != 0 and not succeeds("sudo", "-n", "true")):
        raise Skipped(f"no {' '.join(packages)}, and no apt-get as root to install it")
    try:
        debian_update()
        quietly = ("-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300")
        as_root("apt-get", "install", *quietly, "--no-install-recommends", *packages)
    except Failed as error:
        raise Skipped(f"no {' '.join(packages)}: {error}") from error


def command(name):
    """The path of a command, installed if it is missing."""
    if not which(name):
        debian(PACKAGES[name])
    if not which(name):
        raise Skipped(f"no {name}")
    return which(name)


def which(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")


@functools.cache
def cargo():
    """The toolchain, which is not installed from here: which one is a decision of its own."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    if not shutil.which("cargo") and (home / "bin" / "cargo").exists():
        os.environ["PATH"] += f":{home / 'bin'}"
    if not shutil.which("cargo"):
        raise Failed("cargo is missing: install Rust 1.89 or later, with rustfmt and clippy (rustup.rs tells how)")
    try:
        command("cc")
        if not CERTIFICATES.exists():
            debian("ca-certificates")
    except Skipped as reason:
        raise Failed(reason) from reason
    return "cargo"


@functools.cache
def cargo_tool(name):
    """The path of a cargo subcommand's binary; installed, in the pinned version, if there is none."""
    cargo()
    if found := shutil.which(name):
        return found
    tools = KEPT / "tools"
    if not (tools / "bin" / name).exists():
        try:
            # Quick to build is what counts: they are run once.
            run("cargo", "install", "--locked", "--quiet", "--debug", "--root", tools, f"{name}@{CARGO_TOOLS[name]}")
        except Failed as error:
            raise Skipped(f"no {name}: {error}") from error
    return tools / "bin" / name


@functools.cache
def bench(name):
    """The path of a program of tests/bench, built as fast code but not as the release is."""
    build = (cargo(), "bench", "--locked", "--quiet", "--no-run", "--bench", name, "--message-format=json-render-diagnostics")
    built = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = map(json.loads, built.stdout.splitlines())
    paths = [line["executable"] for line in lines if line.get("executable") and line["target"]["name"] == name]
    if built.returncode or not paths:
        raise Failed(f"tests/bench/{name} does not build")
    return paths[-1]


def python():
    """A Python with the packages of the reference, the kit and the clients."""
    return venv("venv", *REQUIREMENTS)


@functools.cache
def venv(name, *requirements):
    """The Python of a virtual environment, made anew when the requirements have changed."""
    base = next((found for name in PYTHONS if (found := shutil.which(name))), None)
    texts = [str(base).encode(), *(file.read_bytes() for file in sorted(requirements))]
    home = KEPT / f"{name}-{hashlib.sha256(b''.join(texts)).hexdigest()[:12]}"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        base = able_to_build(base)
        try:
            run(base, "-m", "venv", home)
            wanted = [part for file in requirements for part in ("-r", file)]
            run(home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
        except Failed as error:
            raise Skipped(f"no Python packages: {error}") from error
        (home / "complete").touch()
    return home / "bin" / "python"


def able_to_build(base):
    """A Python that can make environments, and compile mysqlclient into them."""
    if base is None or not succeeds(base, "-c", "import ensurepip, venv"):
        debian("python3", "python3-venv")
        base = shutil.which("python3")
    command("cc")
    command("pkg-config")
    if not succeeds("pkg-config", "--exists", "libmariadb") or not PYTHON_HEADERS.exists():
        debian("libmariadb-dev", "python3-dev")
    return base


@functools.cache
def node(home=CLIENTS):
    """Node, with the packages of tests/clients, or of another directory that has a lock."""
    found = command("node")
    lock = home / "package-lock.json"
    # npm writes this file last.
    installed = home / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        try:
            run(command("npm"), "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=home)
        except Failed as error:
            raise Skipped(f"no Node packages: {error}") from error
    return found


def chromium():
    """The browser, and letters to show Korean with."""
    if not KOREAN_FONT.exists():
        debian("fonts-noto-cjk")
    return command("chromium")
