"""A bill of materials of the release: CycloneDX 1.5 in JSON, from Cargo.lock and cargo's own metadata.

    python3 tests/runner/sbom.py [FILE]

Every package of Cargo.lock is a component, with its version, checksum and licence, and what it depends on. What is
linked into the binary has the scope `required`; what only builds or tests it, or belongs to another system, `excluded`.
SQLite, which libsqlite3-sys brings along as C, is a component of its own.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "chatferry"


def reference(name, version):
    return f"pkg:cargo/{name}@{version}"


def cargo_metadata():
    """What cargo knows of the packages, and which of them are linked into the binary here."""
    command = ("cargo", "metadata", "--locked", "--all-features", "--format-version", "1")
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def linked():
    """References of the packages that cargo links into the binary on this system."""
    command = ("cargo", "tree", "--locked", "--package", PACKAGE, "--edges", "normal,no-proc-macro", "--prefix", "none")
    text = subprocess.run((*command, "--format", "{p}"), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = (re.match(r"(\S+) v(\S+)", line) for line in text.splitlines())
    return {reference(*match.groups()) for match in found if match}


def lock():
    return tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]


def sqlite_of(metadata):
    """The SQLite that is compiled into the binary."""
    package = next((it for it in metadata["packages"] if it["name"] == "libsqlite3-sys"), None)
    if package is None:
        return None
    header = Path(package["manifest_path"]).parent / "sqlite3" / "sqlite3.h"
    version = re.search(r'#define SQLITE_VERSION +"([^"]+)"', header.read_text(encoding="utf-8", errors="replace"))
    return {
        "type": "library",
        "bom-ref": f"pkg:generic/sqlite@{version[1]}",
        "name": "sqlite",
        "version": version[1],
        "purl": f"pkg:generic/sqlite@{version[1]}",
        "scope": "required",
        "licenses": [{"license": {"name": "Public domain"}}],
    }


def component(package, about, required):
    name, version = package["name"], package["version"]
    found = {
        "type": "library",
        "bom-ref": reference(name, version),
        "name": name,
        "version": version,
        "purl": reference(name, version),
        "scope": "required" if reference(name, version) in required else "excluded",
    }
    if checksum := package.get("checksum"):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if license := about.get("license"):
        # Old packages write `/` for `OR`.
        found["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", license)}]
    if description := about.get("description"):
        found["description"] = " ".join(description.split())
    return found


def dependencies(packages):
    """What each depends on. Cargo.lock leaves a version out where there is only one."""
    versions = {}
    for package in packages:
        versions.setdefault(package["name"], []).append(package["version"])

    def resolved(text):
        name, *version = text.split(" ")
        return reference(name, version[0] if version else versions[name][0])

    return [
        {
            "ref": reference(package["name"], package["version"]),
            "dependsOn": sorted(resolved(text) for text in package.get("dependencies", ())),
        }
        for package in packages
    ]


def sbom():
    packages, metadata, required = lock(), cargo_metadata(), linked()
    about = {reference(it["name"], it["version"]): it for it in metadata["packages"]}
    of = {reference(it["name"], it["version"]): it for it in packages}
    main = next(it for it in packages if it["name"] == PACKAGE)
    root = component(main, about[reference(PACKAGE, main["version"])], required) | {"type": "application"}
    root.pop("scope")
    components = [component(it, about.get(ref, {}), required) for ref, it in sorted(of.items()) if it is not main]
    graph = dependencies(packages)
    if sqlite := sqlite_of(metadata):
        components.append(sqlite)
        brings = next(it for it in graph if it["ref"].startswith("pkg:cargo/libsqlite3-sys@"))
        brings["dependsOn"].append(sqlite["bom-ref"])
        graph.append({"ref": sqlite["bom-ref"], "dependsOn": []})
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": graph,
    }


if __name__ == "__main__":
    text = json.dumps(sbom(), indent=2, ensure_ascii=False) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
