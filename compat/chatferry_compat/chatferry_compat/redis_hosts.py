"""The hosts of a channel layer, in any of the forms that channels_redis takes, as addresses for `layer.hosts`.

Stands beside `channels_redis.utils.decode_hosts` and `create_pool`: what those hand to redis-py is put into a URL.
"""

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from .finding import BREAKS, LOOK, Finding
from .toml import Entry

#: Connection options of redis-py that are tuning, not an address.
TUNING = {
    "socket_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_keepalive_options",
    "health_check_interval",
    "retry",
    "retry_on_timeout",
    "retry_on_error",
    "max_connections",
    "client_name",
    "encoding",
    "encoding_errors",
    "decode_responses",
    "protocol",
    "connection_class",
    "parser_class",
    "timeout",
}
TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile")


def _finding(severity, subject, text, advice):
    return Finding(severity, "channel layer", subject, text, advice)


def hosts_entry(hosts):
    """`layer.hosts` in Django's order, which decides where a name lives."""
    entry = Entry("layer.hosts", [])
    hidden = []
    for host in hosts or ["redis://localhost:6379"]:
        found = _Host(entry)
        found.read(host)
        if found.place:
            entry.value.append(found.text())
            hidden.append(found.text(f"set-{entry.variable}"))
    if hidden != entry.value:
        entry.hidden = hidden
    return entry


class _Host:
    """One host, from any of the forms that channels_redis takes."""

    def __init__(self, entry):
        self.entry = entry
        self.scheme = "redis"
        self.place = ""
        self.tail = ""
        self.db = 0
        self.username = ""
        self.password = ""
        self.query = {}

    def read(self, host):
        if isinstance(host, dict):
            self._dict(dict(host))
        elif isinstance(host, (tuple, list)):
            self.place = _at(*host[:2])
        else:
            self._url(host.decode() if isinstance(host, bytes) else str(host))

    def text(self, instead=None):
        """The address; `instead` stands where passwords are."""
        query = dict(self.query)
        password = instead if instead and self.password else self.password
        if instead and "sentinel_password" in query:
            query["sentinel_password"] = instead
        if self.scheme == "unix":
            login = {"db": self.db, "user": self.username, "password": password}
            query = {key: value for key, value in login.items() if value}
            return f"unix://{self.place}" + _query(query)
        login = quote(self.username, safe="") + (f":{quote(password, safe='')}" if password else "")
        db = f"/{self.db}" if self.db or self.scheme != "sentinel" else ""
        return f"{self.scheme}://{login}{'@' if login else ''}{self.place}{self.tail}{db}" + _query(query)

    def _find(self, severity, subject, text, advice):
        self.entry.findings.append(_finding(severity, subject, text, advice))

    def _login(self, options):
        """What redis-py takes as keywords in every form."""
        self.db = int(options.pop("db", None) or self.db)
        self.username = str(options.pop("username", None) or self.username)
        self.password = str(options.pop("password", None) or self.password)
        self.query.update(_tls(options))
        if options.pop("ssl", False) and self.scheme == "redis":
            self.scheme = "rediss"
        self._tuning(options)

    def _tuning(self, options):
        mine = sorted(TUNING & options.keys())
        if mine:
            self.entry.comments.append(f"Tuning of redis-py, without a counterpart: {', '.join(mine)}.")
        for name in sorted(options.keys() - TUNING):
            text = f"the connection option {name} has no counterpart"
            self._find(LOOK, name, text, "Find out whether the connection depends on it.")

    def _dict(self, host):
        address = host.pop("address", None)
        if address is not None:
            # redis-py lets the URL overrule the keywords.
            self._login(host)
            self._url(address.decode() if isinstance(address, bytes) else str(address))
        elif "master_name" in host:
            self._sentinel(host)
        elif "path" in host:
            self.scheme, self.place = "unix", str(host.pop("path"))
            self._login(host)
        else:
            self.place = _at(host.pop("host", "localhost"), host.pop("port", 6379))
            self._login(host)

    def _sentinel(self, host):
        self.scheme = "sentinel"
        self.tail = f"/{host.pop('master_name')}"
        self.place = ",".join(_at(*sentinel[:2]) for sentinel in host.pop("sentinels", []))
        own = dict(host.pop("sentinel_kwargs", None) or {})
        for name in ("username", "password"):
            if own.get(name):
                self.query[f"sentinel_{name}"] = str(own.pop(name))
        asked = {"ssl": host.pop("ssl", False), "sentinel_ssl": own.pop("ssl", False)}
        self.query.update({name: "true" for name, is_asked in asked.items() if is_asked})
        checks = {"ssl": _tls(host), "sentinel_ssl": _tls(own)}
        self._checks([checks[name] for name, is_asked in asked.items() if is_asked])
        self._login(host)
        self._tuning(own)

    def _checks(self, sides):
        """Takes over the options of TLS that master and Sentinels share, and none that would loosen one of them."""
        for name in dict.fromkeys(name for side in sides for name in side):
            values = {side.get(name) for side in sides}
            if len(values) == 1:
                self.query[name] = values.pop()
                continue
            text = f"{name} is not the same for the master and for its Sentinels"
            self._find(BREAKS, "sentinels", text, "Give both the same, and write it into this address.")

    def _url(self, url):
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        if parts.scheme not in ("redis", "rediss", "unix"):
            self._find(
                BREAKS, "hosts", f"{parts.scheme}:// is no address of a Redis", "Use redis://, rediss:// or unix://."
            )
            return
        self.scheme = parts.scheme
        if parts.username:
            query.setdefault("username", unquote(parts.username))
        if parts.password:
            query.setdefault("password", unquote(parts.password))
        if self.scheme == "unix":
            self.place = unquote(parts.path)
        else:
            self.place = _at(unquote(parts.hostname or "localhost"), parts.port or 6379)
            path = parts.path.strip("/")
            if path.isdigit():
                query.setdefault("db", path)
        self._login(query)


def _tls(options):
    """Takes the options of TLS out of redis-py's, as an address has them; what is its default is left out."""
    found = {}
    for name in TLS:
        value = options.pop(name, None)
        # `ssl.CERT_NONE` and "none" are the same to redis-py.
        text = getattr(value, "name", str(value)).removeprefix("CERT_")
        if value is not None and text.lower() != "required":
            found[name] = text.lower() if name == "ssl_cert_reqs" else text
    if str(options.pop("ssl_check_hostname", None)).lower() == "false":
        found["ssl_check_hostname"] = "false"
    return found


def _at(host, port):
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _query(options):
    return "?" + urlencode(options, safe="/", quote_via=quote) if options else ""
