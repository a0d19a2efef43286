"""The event log: one JSON line for each stored message."""

import json
import logging
from datetime import datetime

logger = logging.getLogger("chat.events")


def publish_message_created(message, **raw):
    """Log a stored message. `raw` replaces fields by what the client really sent (5 stays 5).

    `timestamp` is naive local time of TIME_ZONE, `created_at` is UTC: two zones in one line, as the original has it.
    """
    event = {
        "event_type": "message.created",
        "timestamp": datetime.now().isoformat(),
        "data": {
            "message_id": str(message.id),
            "conversation_id": str(message.conversation_id),
            "sender_id": message.sender_id,
            "content": message.content,
            "message_type": message.message_type,
            "created_at": message.created_at.isoformat(),
            **raw,
        },
    }
    logger.info(json.dumps(event))
