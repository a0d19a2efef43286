"""What a MariaDB or MySQL server can do, asked by a loop that does nothing else.

`insert.py URL SECONDS` prints how many messages it stores in a second when it is handed batches of them.
`insert.py URL SECONDS RATE` hands it so many single ones a second, and prints how many milliseconds 99 of 100 take at most.
"""

import statistics
import sys
import time
import uuid

from fill import CONTENT, Mysql, conversation

ROWS = 200
COLUMNS = "id, conversation_id, sender_id, content, message_type, created_at, updated_at, is_deleted"


def insert(database, number, rows):
    row = f"'{number}', 'alice', '#00000000# {CONTENT}', 'text', NOW(6), NOW(6), 0"
    values = ", ".join(f"('{uuid.uuid4()}', {row})" for _ in range(rows))
    database.run(f"INSERT INTO messages ({COLUMNS}) VALUES {values}")


def batches(database, number, seconds):
    began, rows = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        insert(database, number, ROWS)
        rows += ROWS
    return rows / (time.monotonic() - began)


def singles(database, number, seconds, rate):
    began, took = time.monotonic(), []
    for turn in range(int(seconds * rate)):
        due = began + turn / rate
        time.sleep(max(0, due - time.monotonic()))
        insert(database, number, 1)
        took.append(time.monotonic() - due)
    return statistics.quantiles(took, n=100)[-1] * 1000


def main(url, seconds, rate=None):
    database = Mysql(url)
    number = conversation(database, f"insert-{uuid.uuid4()}", "bob", 0)
    if rate:
        print(singles(database, number, float(seconds), float(rate)))
    else:
        print(batches(database, number, float(seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
