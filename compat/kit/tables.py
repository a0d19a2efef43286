"""Asks the tables of a server in SQL: a SQLite file, or a URL as DATABASE_URL has it.

Drivers are imported when they are needed: an operator has the one of their own database.
"""

import sqlite3
from contextlib import closing
from datetime import datetime
from urllib.parse import unquote, urlsplit
from uuid import UUID


def rows_of(database, sql, args):
    """Runs one statement, its arguments written `?`, and commits. Its rows, in texts and numbers."""
    with closing(connect(str(database))) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(sql if isinstance(connection, sqlite3.Connection) else sql.replace("?", "%s"), args)
        rows = cursor.fetchall() if cursor.description else []
        connection.commit()
    return [[plain(value) for value in row] for row in rows]


def connect(database):
    scheme, _, rest = database.partition("://")
    if scheme in ("postgres", "postgresql"):
        import psycopg

        return psycopg.connect(database, options="-c timezone=UTC")
    if scheme == "mysql":
        import MySQLdb

        parts = urlsplit(database)
        return MySQLdb.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path.lstrip("/"),
            charset="utf8mb4",
        )
    return sqlite3.connect(rest or database, timeout=20)


def plain(value):
    """A value as SQLite has it: drivers make objects of ids and times."""
    if isinstance(value, UUID):
        return value.hex
    return value.isoformat(" ") if isinstance(value, datetime) else value
