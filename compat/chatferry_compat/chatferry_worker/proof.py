"""Over TCP both ends prove that they know one secret: see src/host/proof.rs. It never crosses the connection."""

import hashlib
import hmac
import os
from pathlib import Path

#: The variable that has the secret, if no file has it.
SECRET = "CHATFERRY_HOST_SECRET"
NONCE = 32
#: Least bytes of a secret.
LEAST = 32
#: What the ends make their proofs for, so that none is good for the other.
WORKER = b"chatferry worker"
HOST = b"chatferry host"


class ProofError(ValueError):
    """Chatferry does not know the secret."""


def read_secret(path):
    """The secret in a file, or in the environment."""
    secret = Path(path).read_text(encoding="utf-8").strip() if path else os.environ.get(SECRET, "")
    if len(secret.encode()) < LEAST:
        raise SystemExit(
            f"chatferry_worker: --connect needs host.secret of Chatferry, of {LEAST} bytes at least: "
            f"name its file with --secret-file, or set {SECRET}"
        )
    return secret.encode()


class Proof:
    """What one connection proves. Made of the random bytes of both ends."""

    def __init__(self, secret, theirs):
        if not isinstance(theirs, bytes) or len(theirs) != NONCE:
            raise ProofError("Chatferry's challenge is none")
        self.secret = secret
        self.nonce = os.urandom(NONCE)
        self.both = theirs + self.nonce

    def hello(self):
        return {"nonce": self.nonce, "proof": self._sign(WORKER)}

    def check(self, answer):
        """Raises unless it is Chatferry's own proof."""
        if not isinstance(answer, bytes) or not hmac.compare_digest(answer, self._sign(HOST)):
            raise ProofError("Chatferry does not prove that it knows host.secret")

    def _sign(self, end):
        return hmac.digest(self.secret, end + self.both, hashlib.sha256)
