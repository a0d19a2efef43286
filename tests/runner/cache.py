"""Keeps what is fetched or built once in a directory of the user, outside the clone, for every clone and every run.

An entry is a directory NAME-HASH; the hash is that of everything the entry is made from. It is made in place, because
environments of Python cannot be moved, under a lock of its own. The lock file beside it, NAME-HASH.lock, records what a
complete entry holds. An entry without this record, or with other files than recorded, is removed and made anew.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from pathlib import Path


class InUse(Exception):
    """Another run uses the cache."""


def user_directory():
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification ignores relative paths.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "chatferry-tests"


class Cache:
    def __init__(self, directory):
        self.directory = directory
        self._used = None

    def use(self):
        """Keeps `clean` away from the cache until `release`, or the end of this process."""
        if self._used is None:
            self._used = self._opened("lock")
            fcntl.flock(self._used, fcntl.LOCK_SH)

    def release(self):
        if self._used:
            self._used.close()
        self._used = None

    def entry(self, name, key, make):
        """The directory of a complete entry. `make` is given its path and creates it, unless it is there already.

        `key` holds bytes that differ whenever the entry must. Who asks for an entry that another process makes waits.
        Errors of `make` are passed on, and the next one who asks has it made again.
        """
        self.use()
        place = self.directory / f"{name}-{digest(key)}"
        with self.locked(place.name) as record:
            if not place.exists() or record.read() != contents(place):
                record.truncate(0)
                remove(place)
                make(place)
                record.write(contents(place))
        return place

    def complete(self, name, key):
        """The directory of the entry if it is complete, or None."""
        self.use()
        place = self.directory / f"{name}-{digest(key)}"
        with self.locked(place.name) as record:
            return place if place.exists() and record.read() == contents(place) else None

    def prune(self, name, newest):
        """Removes entries of this name, but for as many as `newest` that were made last."""
        made = {place: place.stat().st_mtime for place in self.directory.glob(f"{name}-*") if place.is_dir()}
        for place in sorted(made, key=made.get, reverse=True)[newest:]:
            with self.locked(place.name) as record:
                record.truncate(0)
                remove(place)

    @contextlib.contextmanager
    def locked(self, name):
        """The lock file of this name, held until the block ends."""
        with self._opened(f"{name}.lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            yield file

    def clean(self):
        """Removes every entry. Raises InUse while another run uses the cache."""
        with self._opened("lock") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse(f"another run uses {self.directory}") from None
            for path in self.directory.iterdir():
                # It stays, so that all take the same one.
                if path.name != "lock":
                    remove(path)

    def is_empty(self):
        return not any(path.is_dir() for path in self.directory.glob("*"))

    def _opened(self, name):
        self.directory.mkdir(parents=True, exist_ok=True)
        return (self.directory / name).open("a+", encoding="ascii")


def digest(key):
    parts = hashlib.sha256()
    for part in key:
        # So that no part can begin where another one ends.
        parts.update(hashlib.sha256(part).digest())
    return parts.hexdigest()[:16]


def contents(directory):
    """A summary of the files: how many there are, and their size. What Python compiles while it runs does not count."""
    files, size = 0, 0
    for path, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if name != "__pycache__"]
        files += len(names)
        size += sum(os.lstat(os.path.join(path, name)).st_size for name in names)
    return f"{files} files, {size} bytes\n"


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
