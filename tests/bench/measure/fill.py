"""Rows that are there before anything is measured, made by the database itself.

    python fill.py URL JSON

JSON is a list of [first participant, second participant, messages]; prints the ids of these conversations in their
order. A first participant with `%` in it stands for as many conversations as the third says, with no messages. A text
is a statement that is run as it is.
"""

import json
import sqlite3
import sys
import uuid
from urllib.parse import urlsplit

CONTENT = "Nothing much, and you? Shall we meet at six?"


class Mysql:
    numbers = "(SELECT seq AS n FROM seq_1_to_{count}) AS numbers"
    new_id, at = "UUID()", "NOW(6) - INTERVAL ({count} - n) * 1000 MICROSECOND"
    mark = "CONCAT('#', LPAD(n, 8, '0'), '# {content}')"
    name, as_id = "CONCAT('{name}', n)", "'{}'"
    after = None

    def __init__(self, url):
        import MySQLdb

        parts = urlsplit(url)
        where = {"host": parts.hostname, "port": parts.port, "user": parts.username, "database": parts.path[1:]}
        self.connection = MySQLdb.connect(**where, charset="utf8mb4", autocommit=True)

    def run(self, sql):
        self.connection.cursor().execute(sql)


class Postgres(Mysql):
    numbers = "generate_series(1, {count}) AS numbers (n)"
    new_id, at = "gen_random_uuid()", "now() - ({count} - n) * interval '1 millisecond'"
    mark = "'#' || lpad(n::text, 8, '0') || '# {content}'"
    name, as_id = "'{name}' || n", "'{}'::uuid"
    # By itself it does so within a minute. Until then its plans are those of small tables.
    after = "ANALYZE"

    def __init__(self, url):
        import psycopg

        self.connection = psycopg.connect(url, autocommit=True)

    def run(self, sql):
        self.connection.execute(sql)


class Sqlite(Mysql):
    numbers = "(WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) SELECT n FROM c)"
    new_id = "lower(hex(randomblob(16)))"
    at = "strftime('%Y-%m-%d %H:%M:%f000', 'now', ((n - {count}) / 1000.0) || ' seconds')"
    mark = "printf('#%08d# {content}', n)"
    name = "'{name}' || n"

    def __init__(self, url):
        self.connection = sqlite3.connect(url.removeprefix("sqlite://"), timeout=60, isolation_level=None)

    def run(self, sql):
        self.connection.execute(sql)


def conversations(database, first, second, count):
    """So many conversations, whose first participants are numbered."""
    source = database.numbers.format(count=count)
    name = database.name.format(name=first.replace("%", ""))
    at = database.at.format(count=count)
    database.run(
        "INSERT INTO conversations (id, participant1_id, participant2_id, created_at, updated_at, is_active) "
        f"SELECT {database.new_id}, {name}, '{second}', {at}, {at}, true FROM {source}"
    )


def conversation(database, first, second, messages):
    number = str(uuid.uuid4())
    kept = number.replace("-", "") if isinstance(database, Sqlite) else number
    source = database.numbers.format(count=1)
    moment = database.at.format(count=1)
    database.run(
        "INSERT INTO conversations (id, participant1_id, participant2_id, created_at, updated_at, is_active) "
        f"SELECT {database.as_id.format(kept)}, '{first}', '{second}', {moment}, {moment}, true FROM {source}"
    )
    if messages:
        source, at = database.numbers.format(count=messages), database.at.format(count=messages)
        mark = database.mark.format(content=CONTENT)
        database.run(
            "INSERT INTO messages (id, conversation_id, sender_id, content, message_type, created_at, updated_at, "
            f"is_deleted) SELECT {database.new_id}, {database.as_id.format(kept)}, 'alice', {mark}, 'text', {at}, {at}, false FROM {source}"
        )
    return number


def main(url, wanted):
    kinds = {"mysql": Mysql, "postgres": Postgres, "sqlite": Sqlite}
    database = kinds[url.partition("://")[0]](url)
    made = []
    for what in json.loads(wanted):
        if isinstance(what, str):
            database.run(what)
            continue
        first, second, count = what
        if "%" in first:
            conversations(database, first, second, count)
        else:
            made.append(conversation(database, first, second, count))
    if database.after:
        database.run(database.after)
    print(json.dumps(made))


if __name__ == "__main__":
    main(*sys.argv[1:])
