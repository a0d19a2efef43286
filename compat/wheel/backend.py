"""Builds a wheel of the program and of the packages of compat/chatferry_compat: a build backend of PEP 517.

maturin puts one Python package beside programs, compiles them itself and has to be fetched; this needs cargo alone, or
a program that is there.
"""

import base64
import hashlib
import os
import subprocess
import sysconfig
import zipfile
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "compat" / "chatferry_compat"
#: So that the same parts make the same wheel.
DATE = (2020, 1, 1, 0, 0, 0)
NAME = "chatferry"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Makes the wheel and returns its name."""
    binary = program()
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    info = f"{NAME}-{version()}.dist-info"
    files = {f"{NAME}-{version()}.data/scripts/chatferry": binary.read_bytes()}
    for package in ("chatferry_compat", "chatferry_worker"):
        for path in sorted((PACKAGES / package).rglob("*.py")):
            files[path.relative_to(PACKAGES).as_posix()] = path.read_bytes()
    files[f"{info}/METADATA"] = metadata().encode()
    tag = f"py3-none-{platform}"
    head = ("Wheel-Version: 1.0", f"Generator: {NAME}", "Root-Is-Purelib: false", f"Tag: {tag}", "")
    files[f"{info}/WHEEL"] = "\n".join(head).encode()
    lines = [f"{name},sha256={digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    name = f"{NAME}-{version()}-{tag}.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            mode = 0o755 if "/scripts/" in path else 0o644
            entry.external_attr = (0o100000 | mode) << 16
            wheel.writestr(entry, data)
    return name


def program():
    """The program: the one that is named, or one that is built now."""
    named = os.environ.get("CHATFERRY_BINARY")
    if named:
        return Path(named)
    subprocess.run(["cargo", "build", "--locked", "--release"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return ROOT / target / "release" / "chatferry"


def version():
    return tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]


def metadata():
    """What pip is to know, most of it as the packages alone have it."""
    project = tomllib.loads((PACKAGES / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {NAME}",
        f"Version: {version()}",
        "Summary: Serves a Django Channels project beside Django, or in its place",
        f"Requires-Python: {project['requires-python']}",
        "License: MIT",
        *(f"Requires-Dist: {needed}" for needed in project["dependencies"]),
    ]
    for extra, needs in project.get("optional-dependencies", {}).items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {needed}; extra == "{extra}"' for needed in needs]
    return "\n".join([*lines, ""])


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
