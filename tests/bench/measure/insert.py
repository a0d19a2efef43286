"""How many messages a MariaDB or MySQL server stores in a second when a loop hands it batches: `insert.py URL SECONDS`."""

import sys
import time
import uuid

from fill import CONTENT, Mysql, conversation

ROWS = 200
COLUMNS = "id, conversation_id, sender_id, content, message_type, created_at, updated_at, is_deleted"


def main(url, seconds):
    database = Mysql(url)
    number = conversation(database, f"insert-{uuid.uuid4()}", "bob", 0)
    began, rows = time.monotonic(), 0
    while time.monotonic() - began < float(seconds):
        row = f"'{number}', 'alice', '#00000000# {CONTENT}', 'text', NOW(6), NOW(6), 0"
        values = ", ".join(f"('{uuid.uuid4()}', {row})" for _ in range(ROWS))
        database.run(f"INSERT INTO messages ({COLUMNS}) VALUES {values}")
        rows += ROWS
    print(rows / (time.monotonic() - began))


if __name__ == "__main__":
    main(*sys.argv[1:])
