"""Naebak as its contract has it, on the framework that it uses: what Chatferry's dialect is compared with.

    REDIS_URL=redis://… PORT=8004 python reference.py
"""

import eventlet

eventlet.monkey_patch()

import datetime  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402

import redis  # noqa: E402
from flask import Flask, jsonify, request  # noqa: E402
from flask_cors import CORS  # noqa: E402
from flask_socketio import SocketIO, emit, join_room  # noqa: E402

URL = os.environ["REDIS_URL"]
app = Flask(__name__)
CORS(app, origins="*")
socketio = SocketIO(app, cors_allowed_origins="*", message_queue=URL, async_mode="eventlet")
db = redis.from_url(URL, decode_responses=True)
#: The user of each connection.
users = {}


@app.get("/health")
def health():
    db.ping()
    now = datetime.datetime.utcnow().isoformat()
    about = {"service": "naebak-messaging-service", "version": "1.0.0"}
    return jsonify(about | {"status": "ok", "redis_status": "connected", "timestamp": now})


def key(one, other):
    return f"chat:{min(one, other)}_{max(one, other)}"


@socketio.on("connect")
def connect():
    user = request.args.get("user_id")
    if not user:
        return False
    users[request.sid] = user
    return True


@socketio.on("disconnect")
def disconnect(*_):
    users.pop(request.sid, None)


@socketio.on("join_chat")
def join_chat(data):
    user, partner = users[request.sid], data.get("chat_partner_id")
    if not partner:
        return
    join_room(user)
    kept = [json.loads(message) for message in db.lrange(key(user, partner), 0, -1)]
    emit("previous_messages", {"messages": kept, "chat_partner_id": partner})


@socketio.on("send_message")
def send_message(data):
    user, recipient, content = users[request.sid], data.get("recipient_id"), data.get("content")
    if not recipient or not content:
        emit("message_error", {"error": "Missing required fields"})
        return
    now = datetime.datetime.utcnow().isoformat()
    message = {"sender_id": user, "recipient_id": recipient, "content": content, "timestamp": now}
    db.rpush(key(user, recipient), json.dumps(message))
    db.ltrim(key(user, recipient), -100, -1)
    emit("receive_message", message, room=recipient)
    emit("message_sent", {"status": "success", "message_id": time.time(), "timestamp": now}, room=user)


def typing(data, is_typing):
    if recipient := data.get("recipient_id"):
        emit("user_typing", {"user_id": users[request.sid], "typing": is_typing}, room=recipient)


@socketio.on("typing_start")
def typing_start(data):
    typing(data, True)


@socketio.on("typing_stop")
def typing_stop(data):
    typing(data, False)


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(os.environ["PORT"]))
