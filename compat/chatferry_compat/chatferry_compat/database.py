"""An entry of DATABASES as `store.url`."""

from urllib.parse import quote, urlencode

from .finding import BREAKS, LOOK, NOTE, Finding
from .toml import Entry

KEY = "store.url"
MYSQL_SSL = {"ca": "ssl-ca", "cert": "ssl-cert", "key": "ssl-key"}
MYSQL_MODES = {"DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"}
#: Modes of MySQL in which a value that does not fit is an error.
STRICT = {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"}
POSTGRES_MODES = {"allow", "disable", "prefer", "require", "verify-ca", "verify-full"}
#: libpq's names that Chatferry's driver takes as they are.
POSTGRES_SAME = {
    "application_name",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "options",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "target_session_attrs",
}
#: Tuning of the Python side, without a meaning for another program.
PYTHON_ONLY = {"pool", "cursor_factory", "server_side_binding", "client_encoding", "conv", "use_unicode", "compress"}


def store_url(database):
    """The entry for a DATABASES entry, as Django completes it (every key but OPTIONS may be empty)."""
    engine = database.get("ENGINE", "")
    for part, read in (("sqlite", _sqlite), ("spatialite", _sqlite), ("mysql", _mysql), ("postg", _postgres)):
        if part in engine.rpartition("backends.")[2].lower():
            return read(database)
    text = f"Chatferry speaks SQLite, MySQL, MariaDB and PostgreSQL, not {engine or 'nothing'}"
    return Entry(KEY, findings=[_finding(BREAKS, "ENGINE", text, "Move the data to one of these first.")])


def _finding(severity, subject, text, advice):
    return Finding(severity, "database", subject, text, advice)


def _sqlite(database):
    name = str(database.get("NAME") or "")
    if name in ("", ":memory:") or name.startswith("file:"):
        text = "a database in memory, or a URI, cannot be shared with another process"
        return Entry(KEY, findings=[_finding(BREAKS, "NAME", text, "Name a file.")])
    entry = Entry(KEY, f"sqlite://{name}")
    if not name.startswith("/"):
        entry.comments.append("Relative to the working directory of `chatferry serve`.")
    return entry


class _Url:
    """A URL being put together, and what is said about it on the way."""

    def __init__(self, scheme, database):
        self.scheme = scheme
        self.database = database
        self.host = str(database.get("HOST") or "")
        self.query = {}
        self.entry = Entry(KEY)
        #: What remains here at the end was not understood.
        self.options = dict(database.get("OPTIONS") or {})

    def text(self, password):
        user = quote(str(self.database.get("USER") or ""), safe="")
        login = f"{user}:{quote(password, safe='')}" if password else user
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe=".-")
        port = f":{self.database['PORT']}" if self.database.get("PORT") and host else ""
        name = quote(str(self.database.get("NAME") or ""), safe="")
        query = "?" + urlencode(self.query, safe="/", quote_via=quote) if self.query else ""
        return f"{self.scheme}://{login}{'@' if login else ''}{host}{port}/{name}{query}"

    def find(self, severity, subject, text, advice):
        self.entry.findings.append(_finding(severity, subject, text, advice))

    def finish(self):
        for name, value in self.options.items():
            if name in PYTHON_ONLY:
                self.entry.comments.append(f"OPTIONS[{name!r}] is for Python's driver only.")
            else:
                text = f"{_shown(name, value)} has no counterpart"
                self.find(LOOK, f"OPTIONS[{name!r}]", text, "Find out whether the chat depends on it.")
        password = str(self.database.get("PASSWORD") or "")
        self.entry.value = self.text(password)
        if password:
            self.entry.hidden = self.text(f"set-{self.entry.variable}")
        return self.entry


def _shown(name, value):
    return name if "pass" in name.lower() else f"{name} = {value!r}"


def _mysql(database):
    url = _Url("mysql", database)
    options = url.options
    if url.host.startswith("/"):
        options["unix_socket"], url.host = url.host, "localhost"
    _option_logins(
        url, {"user": "USER", "passwd": "PASSWORD", "password": "PASSWORD", "db": "NAME", "database": "NAME"}
    )
    socket = options.pop("unix_socket", None)
    if socket:
        url.query["socket"] = socket
    elif url.host in ("", "localhost"):
        text = "the MySQL client takes its socket for `localhost`, Chatferry takes TCP"
        advice = "If the account may only use the socket, append ?socket=/run/mysqld/mysqld.sock."
        url.find(NOTE, "HOST", text, advice)
    url.host = url.host or "localhost"
    _mysql_tls(url)
    for name in ("connect_timeout", "read_timeout", "write_timeout"):
        if name in options:
            url.query[name] = options.pop(name)
    _mysql_session(url)
    if "init_command" in options:
        url.query["init_command"] = options.pop("init_command")
    for name in ("read_default_file", "read_default_group"):
        if name in options:
            text = f"{_shown(name, options.pop(name))} is not read by Chatferry"
            url.find(LOOK, f"OPTIONS[{name!r}]", text, "Put what it sets into this URL, if it is about the connection.")
    return url.finish()


def _option_logins(url, names):
    """Drivers let OPTIONS overrule the entry's own keys."""
    for name, key in names.items():
        if name in url.options:
            url.database = {**url.database, key: url.options.pop(name)}


def _mysql_tls(url):
    tls = url.options.pop("ssl", None)
    asked = bool(tls) or tls == {}
    tls = dict(tls) if isinstance(tls, dict) else {}
    mode = str(url.options.pop("ssl_mode", "") or "").upper()
    for name, option in MYSQL_SSL.items():
        if tls.get(name):
            url.query[option] = tls.pop(name)
    checks_host = tls.pop("check_hostname", None)
    if tls:
        text = f"{', '.join(sorted(tls))} of OPTIONS['ssl'] has no counterpart"
        url.find(LOOK, "OPTIONS['ssl']", text, "The system's list of authorities and ciphers is used.")
    if not mode and "ssl-ca" in url.query:
        mode = "VERIFY_IDENTITY" if checks_host else "VERIFY_CA"
    if not mode and (asked or url.query.keys() & set(MYSQL_SSL.values())):
        mode = "REQUIRED"
    if mode in MYSQL_MODES:
        url.query["ssl-mode"] = mode
    elif mode:
        url.find(
            LOOK, "OPTIONS['ssl_mode']", f"{mode} is not known", f"Choose one of {', '.join(sorted(MYSQL_MODES))}."
        )


def _mysql_session(url):
    """What Chatferry sets on each connection anyway, or does not set."""
    options = url.options
    charset = str(options.pop("charset", "utf8mb4")).lower()
    # The narrower ones are a part of what Chatferry speaks.
    if charset not in ("utf8mb4", "utf8mb3", "utf8"):
        text = f"Django stores text as {charset}, Chatferry speaks utf8mb4"
        url.find(BREAKS, "OPTIONS['charset']", text, "Convert the tables to utf8mb4 and drop the option.")
    level = str(options.pop("isolation_level", None) or "read committed").lower()
    if level != "read committed":
        url.query["isolation_level"] = level
    mode = options.pop("sql_mode", None)
    if mode is not None and not STRICT & {part.strip().upper() for part in str(mode).split(",")}:
        text = f"Chatferry uses STRICT_TRANS_TABLES, not {mode!r}"
        url.find(
            LOOK, "OPTIONS['sql_mode']", text, "Without strict mode Django cuts long values where Chatferry refuses."
        )


def _postgres(database):
    url = _Url("postgres", database)
    options = url.options
    if "service" in options:
        text = f"connection services ({options.pop('service')!r}) are not read by Chatferry"
        url.find(BREAKS, "OPTIONS['service']", text, "Put the service's host, port, user and database into this URL.")
    _option_logins(url, {"user": "USER", "password": "PASSWORD", "dbname": "NAME", "host": "HOST", "port": "PORT"})
    url.host = str(url.database.get("HOST") or "")
    if "passfile" in options:
        text = f"password files ({options.pop('passfile')!r}) are not read by Chatferry"
        url.find(LOOK, "OPTIONS['passfile']", text, f"Set the variable {url.entry.variable}.")
    if not url.host or url.host.startswith("/"):
        url.query["host"] = url.host or "/var/run/postgresql"
        if url.database.get("PORT"):
            url.query["port"] = url.database["PORT"]
        url.host = ""
    _postgres_tls(url)
    for name in sorted(POSTGRES_SAME & options.keys()):
        url.query[name] = options.pop(name)
    if "isolation_level" in options:
        text = "Chatferry uses the database's default isolation level"
        options.pop("isolation_level")
        url.find(NOTE, "OPTIONS['isolation_level']", text, "No statement of the chat depends on it.")
    return url.finish()


def _postgres_tls(url):
    mode = url.options.pop("sslmode", None)
    if mode in POSTGRES_MODES:
        url.query["sslmode"] = mode
    elif mode is not None:
        url.find(LOOK, "OPTIONS['sslmode']", f"{mode!r} is not known", f"Choose one of {sorted(POSTGRES_MODES)}.")
