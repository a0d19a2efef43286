// The chat as one would write it by hand for Node: ws, mysql2 and ioredis, without a framework. It serves what is
// measured (the same paths, frames and tables) and nothing more, and takes none of the shortcuts that would make the
// comparison unfair: a message is committed before it is published, and everybody hears of it through Redis.
//
//     DATABASE_URL=mysql://… REDIS_URL=redis://… node server.mjs PORT

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import Redis from "ioredis";
import mysql from "mysql2/promise";
import { WebSocketServer } from "ws";

const database = mysql.createPool({ uri: process.env.DATABASE_URL, connectionLimit: 10, timezone: "Z", dateStrings: true });
const publisher = new Redis(process.env.REDIS_URL);
const subscriber = new Redis(process.env.REDIS_URL);
const rooms = new Map();

const CONVERSATION = "id, participant1_id, participant2_id, created_at, updated_at, is_active";
const MESSAGE = "id, sender_id, content, message_type, created_at, updated_at, is_deleted";

const now = () => new Date().toISOString().replace("T", " ").replace("Z", "");
const zoned = (text) => new Date(`${text.replace(" ", "T")}Z`).toISOString();
const dated = (row) => ({ ...row, created_at: zoned(row.created_at), updated_at: zoned(row.updated_at) });
const message = (row) => ({ ...dated(row), is_deleted: Boolean(row.is_deleted) });

async function messages(conversation) {
  const all = `SELECT ${MESSAGE} FROM messages WHERE conversation_id = ? AND is_deleted = 0 ORDER BY created_at`;
  const [rows] = await database.execute(all, [conversation]);
  return rows.map(message);
}

async function whole(row) {
  const all = await messages(row.id);
  return { ...dated(row), is_active: Boolean(row.is_active), messages: all, last_message: all.at(-1) ?? null };
}

async function found(id) {
  const [rows] = await database.execute(`SELECT ${CONVERSATION} FROM conversations WHERE id = ?`, [id]);
  return rows[0];
}

async function create({ participant1_id: one, participant2_id: two }) {
  const id = randomUUID();
  const values = [id, one, two, now(), now()];
  await database.execute(`INSERT INTO conversations (${CONVERSATION}) VALUES (?, ?, ?, ?, ?, 1)`, values);
  return whole(await found(id));
}

async function ofUser(user) {
  const mine = `SELECT ${CONVERSATION} FROM conversations
    WHERE (participant1_id = ? OR participant2_id = ?) AND is_active = 1 ORDER BY updated_at DESC`;
  const [rows] = await database.execute(mine, [user, user]);
  return Promise.all(rows.map(whole));
}

async function say(conversation, { sender_id, content, message_type = "text" }) {
  const at = now();
  const row = { id: randomUUID(), sender_id, content, message_type, created_at: at, updated_at: at, is_deleted: 0 };
  const insert = `INSERT INTO messages (${MESSAGE}, conversation_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`;
  await database.execute(insert, [...Object.values(row), conversation]);
  await publisher.publish(conversation, JSON.stringify({ type: "chat_message", message: message(row) }));
}

async function answer(request) {
  const path = new URL(request.url, "http://localhost").pathname.replace("/api/chat/", "").split("/");
  if (request.method === "POST" && path[0] === "conversations") {
    const parts = [];
    for await (const part of request) parts.push(part);
    return [201, await create(JSON.parse(Buffer.concat(parts)))];
  }
  if (path[0] === "users") return [200, await ofUser(decodeURIComponent(path[1]))];
  if (path[0] === "conversations" && path[2] === "messages") return [200, await messages(path[1])];
  const row = path[0] === "conversations" && (await found(path[1]));
  return row ? [200, await whole(row)] : [404, { detail: "Not found." }];
}

const server = createServer(async (request, response) => {
  const [status, value] = await answer(request).catch((error) => [500, { error: String(error) }]);
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": body.length }).end(body);
});

subscriber.on("message", (conversation, text) => {
  for (const socket of rooms.get(conversation) ?? []) socket.send(text);
});

async function join(socket, conversation) {
  let room = rooms.get(conversation);
  if (!room) rooms.set(conversation, (room = new Set()));
  room.add(socket);
  if (room.size === 1) await subscriber.subscribe(conversation);
}

async function leave(socket, conversation) {
  const room = rooms.get(conversation);
  if (room?.delete(socket) && room.size === 0) {
    rooms.delete(conversation);
    await subscriber.unsubscribe(conversation);
  }
}

async function serve(socket, conversation) {
  // A client's messages are stored in their order.
  let last = join(socket, conversation).then(async () => {
    socket.send(JSON.stringify({ type: "conversation_history", messages: await messages(conversation) }));
  });
  socket.on("message", (data) => {
    const frame = JSON.parse(data);
    if (frame.type === "chat_message") last = last.then(() => say(conversation, frame)).catch(console.error);
  });
  socket.on("close", () => leave(socket, conversation));
}

const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", async (request, stream, head) => {
  const conversation = request.url.split("/")[3];
  const row = await found(conversation);
  if (!row?.is_active) return stream.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n");
  sockets.handleUpgrade(request, stream, head, (socket) => serve(socket, conversation));
});
server.listen(Number(process.argv[2]), "127.0.0.1");
