"""Statements that a database server has been asked to read with, since it was started.

    python reads.py URL

On PostgreSQL it counts transactions: each statement that reads is one. It says so a moment later.
"""

import sys
import time
from urllib.parse import urlsplit


def mysql(url):
    import MySQLdb

    parts = urlsplit(url)
    cursor = MySQLdb.connect(host=parts.hostname, port=parts.port, user=parts.username).cursor()
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")
    return int(cursor.fetchone()[1])


def postgres(url):
    import psycopg

    # Its processes report once a second.
    time.sleep(2)
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database").fetchone()[0]


if __name__ == "__main__":
    print({"mysql": mysql, "postgres": postgres}[urlsplit(sys.argv[1]).scheme](sys.argv[1]))
