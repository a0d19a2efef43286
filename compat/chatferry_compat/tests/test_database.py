"""DATABASES entries as `store.url`. No Django project, no driver, no server."""

import unittest

import support  # noqa: F401

from chatferry_compat.database import store_url


def database(engine, **keys):
    return {"ENGINE": f"django.db.backends.{engine}", "NAME": "talk", "USER": "chat", **keys}


def subjects(entry):
    return {(finding.severity, finding.subject) for finding in entry.findings}


class Sqlite(unittest.TestCase):
    def test_a_file_is_named_as_it_is(self):
        self.assertEqual(store_url(database("sqlite3", NAME="/var/대화.db")).value, "sqlite:///var/대화.db")

    def test_a_relative_file_says_what_it_is_relative_to(self):
        entry = store_url(database("sqlite3", NAME="db.sqlite3"))
        self.assertEqual(entry.value, "sqlite://db.sqlite3")
        self.assertIn("working directory", entry.comments[0])

    def test_memory_cannot_be_shared(self):
        for name in (":memory:", "", "file::memory:?cache=shared"):
            entry = store_url(database("sqlite3", NAME=name))
            self.assertIsNone(entry.value)
            self.assertEqual(subjects(entry), {("breaks", "NAME")})


class Mysql(unittest.TestCase):
    def test_a_password_is_quoted_and_hidden(self):
        entry = store_url(database("mysql", PASSWORD="p@s/s:w%", HOST="db.example", PORT="3307"))
        self.assertEqual(entry.value, "mysql://chat:p%40s%2Fs%3Aw%25@db.example:3307/talk")
        self.assertEqual(entry.hidden, "mysql://chat:set-CHATFERRY__STORE__URL@db.example:3307/talk")
        self.assertEqual(entry.findings, [])

    def test_without_a_password_nothing_is_hidden(self):
        entry = store_url(database("mysql", HOST="db"))
        self.assertEqual((entry.value, entry.hidden), ("mysql://chat@db/talk", None))

    def test_a_socket_comes_from_the_options_or_the_host(self):
        wanted = "mysql://chat@localhost/talk?socket=/run/my.sock"
        self.assertEqual(store_url(database("mysql", OPTIONS={"unix_socket": "/run/my.sock"})).value, wanted)
        self.assertEqual(store_url(database("mysql", HOST="/run/my.sock")).value, wanted)

    def test_localhost_without_a_socket_is_told(self):
        self.assertEqual(subjects(store_url(database("mysql"))), {("note", "HOST")})

    def test_tls_options_are_named_as_the_command_line_names_them(self):
        for options, query in (
            ({"ssl": {"ca": "/ca.pem"}}, "ssl-ca=/ca.pem&ssl-mode=VERIFY_CA"),
            ({"ssl": {"ca": "/ca.pem", "check_hostname": True}}, "ssl-ca=/ca.pem&ssl-mode=VERIFY_IDENTITY"),
            ({"ssl_mode": "VERIFY_IDENTITY", "ssl": {"ca": "/c"}}, "ssl-ca=/c&ssl-mode=VERIFY_IDENTITY"),
            ({"ssl": {"cert": "/c", "key": "/k"}}, "ssl-cert=/c&ssl-key=/k&ssl-mode=REQUIRED"),
            ({"ssl": {}}, "ssl-mode=REQUIRED"),
            ({"ssl_mode": "DISABLED"}, "ssl-mode=DISABLED"),
        ):
            entry = store_url(database("mysql", HOST="h", OPTIONS=options))
            self.assertEqual(entry.value, f"mysql://chat@h/talk?{query}")
            self.assertEqual(entry.findings, [])

    def test_what_cannot_be_mapped_is_told(self):
        options = {
            "charset": "latin1",
            "init_command": "SET x=1",
            "isolation_level": "serializable",
            "sql_mode": "",
            "read_default_file": "/etc/my.cnf",
            "ssl_mode": "PREFERRED",
            "local_infile": 1,
            "connect_timeout": 3,
            "conv": {},
        }
        entry = store_url(database("mysql", HOST="h", OPTIONS=options))
        session = "isolation_level=serializable&init_command=SET%20x%3D1"
        self.assertEqual(entry.value, f"mysql://chat@h/talk?ssl-mode=PREFERRED&connect_timeout=3&{session}")
        self.assertEqual(
            subjects(entry),
            {
                ("breaks", "OPTIONS['charset']"),
                ("look", "OPTIONS['sql_mode']"),
                ("look", "OPTIONS['read_default_file']"),
                ("look", "OPTIONS['local_infile']"),
            },
        )

    def test_what_chatferry_does_anyway_is_no_finding(self):
        for options in (
            {"charset": "utf8"},
            {"charset": "UTF8MB3"},
            {"sql_mode": "TRADITIONAL"},
            {"sql_mode": "ONLY_FULL_GROUP_BY, strict_trans_tables"},
        ):
            entry = store_url(database("mysql", HOST="h", OPTIONS=options))
            self.assertEqual((entry.value, entry.findings), ("mysql://chat@h/talk", []), options)

    def test_certificates_of_the_client_are_carried_over(self):
        tls = {"sslmode": "verify-ca", "sslrootcert": "/ca", "sslcert": "/c", "sslkey": "/k"}
        entry = store_url(database("postgresql", HOST="h", OPTIONS=tls))
        query = "sslmode=verify-ca&sslcert=/c&sslkey=/k&sslrootcert=/ca"
        self.assertEqual((entry.value, entry.findings), (f"postgres://chat@h/talk?{query}", []))

    def test_the_login_may_stand_in_the_options(self):
        options = {"user": "u", "passwd": "secret", "db": "d"}
        entry = store_url({"ENGINE": "django.db.backends.mysql", "HOST": "h", "OPTIONS": options})
        self.assertEqual(entry.value, "mysql://u:secret@h/d")


class Postgres(unittest.TestCase):
    def test_an_address_with_tls(self):
        options = {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "connect_timeout": 5, "pool": True}
        entry = store_url(database("postgresql", PASSWORD="p w", HOST="::1", PORT=5433, OPTIONS=options))
        query = "sslmode=verify-full&connect_timeout=5&sslrootcert=/ca.pem"
        self.assertEqual(entry.value, f"postgres://chat:p%20w@[::1]:5433/talk?{query}")
        self.assertEqual(entry.findings, [])

    def test_no_host_is_the_socket_of_debian(self):
        entry = store_url(database("postgresql_psycopg2", PORT="5433"))
        self.assertEqual(entry.value, "postgres://chat@/talk?host=/var/run/postgresql&port=5433")

    def test_postgis_is_postgres(self):
        engine = {"ENGINE": "django.contrib.gis.db.backends.postgis", "NAME": "d", "HOST": "h"}
        self.assertEqual(store_url(engine).value, "postgres://h/d")

    def test_what_cannot_be_mapped_is_told(self):
        options = {"service": "chat", "passfile": "/p", "sslmode": "verify-ca", "sslcert": "/c", "assume_role": "x"}
        self.assertEqual(
            subjects(store_url(database("postgresql", HOST="h", OPTIONS=options))),
            {
                ("breaks", "OPTIONS['service']"),
                ("look", "OPTIONS['passfile']"),
                ("look", "OPTIONS['assume_role']"),
            },
        )


class Others(unittest.TestCase):
    def test_another_database_is_refused(self):
        entry = store_url(database("oracle"))
        self.assertIsNone(entry.value)
        self.assertEqual(subjects(entry), {("breaks", "ENGINE")})


if __name__ == "__main__":
    unittest.main()
