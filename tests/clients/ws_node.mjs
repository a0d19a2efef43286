// Node's `ws` package and raw sockets against a running server: what a client written for Django Channels relies on, and where
// the server does better than Daphne on purpose. BASE_URL as in page.mjs.
import crypto from 'node:crypto';
import net from 'node:net';
import WebSocket from 'ws';
import { check, assert, runChecks, finish, until, pause, person, BASE_URL } from './lib/checks.mjs';
import { createConversation, listMessages, sendMessage } from './lib/rest.mjs';

const { hostname, port } = new URL(BASE_URL);
const address = (id) => `${BASE_URL.replace(/^http/, 'ws')}/ws/chat/${id}/`;
const newConversation = () => createConversation(person('node'), person('node'));

// A client that keeps every frame; `next` takes them in order, `closed` resolves with the close code.
class Client {
  frames = [];
  static async open(id, options) {
    const client = new Client();
    client.socket = new WebSocket(address(id), options);
    client.socket.on('message', (bytes, binary) => client.frames.push(binary ? bytes : JSON.parse(bytes)));
    client.closed = new Promise((resolve) => client.socket.on('close', (code, reason) => resolve({ code, reason: String(reason) })));
    await new Promise((resolve, reject) => { client.socket.on('open', resolve); client.socket.on('error', reject); });
    client.history = (await client.next('conversation_history')).messages;
    return client;
  }
  send(frame) { this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)); }
  async next(type, longestMs) {
    const frame = await until(`a ${type} frame`, () => this.frames.shift(), longestMs);
    assert.equal(frame.error ? 'error' : frame.type, type, JSON.stringify(frame).slice(0, 200));
    return frame;
  }
  async say(content, sender_id = 'node') {
    this.send({ type: 'chat_message', sender_id, content });
    return (await this.next('chat_message')).message;
  }
  close() { this.socket.terminate(); }
}

// The status line's code of a refused handshake, and how long it took.
function refusal(path, headers = {}) {
  const began = Date.now();
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${BASE_URL.replace(/^http/, 'ws')}${path}`, { headers });
    socket.on('unexpected-response', (_, response) => { resolve({ status: response.statusCode, ms: Date.now() - began }); socket.terminate(); });
    socket.on('open', () => { reject(new Error('was accepted')); socket.terminate(); });
    socket.on('error', reject);
  });
}

// A connection below any WebSocket library: what goes into one TCP segment, and frames no library would send.
class Raw {
  bytes = Buffer.alloc(0);
  ended = false;
  static connect() {
    const raw = new Raw();
    raw.socket = net.connect(Number(port || 80), hostname);
    raw.socket.setNoDelay(true).on('data', (bytes) => { raw.bytes = Buffer.concat([raw.bytes, bytes]); });
    raw.socket.on('error', () => {}).on('close', () => { raw.ended = true; });
    return raw;
  }
  static handshake(id) {
    return Buffer.from([`GET /ws/chat/${id}/ HTTP/1.1`, `Host: ${hostname}:${port}`, 'Upgrade: websocket', 'Connection: Upgrade',
      `Sec-WebSocket-Key: ${crypto.randomBytes(16).toString('base64')}`, 'Sec-WebSocket-Version: 13', '', ''].join('\r\n'));
  }
  // One masked frame; `first` is the byte of FIN, RSV and opcode.
  static frame(first, payload) {
    const body = Buffer.from(payload), mask = crypto.randomBytes(4);
    assert.ok(body.length < 65536);
    const head = body.length < 126 ? [first, 0x80 | body.length] : [first, 0xfe, body.length >> 8, body.length & 255];
    return Buffer.concat([Buffer.from(head), mask, body.map((byte, i) => byte ^ mask[i % 4])]);
  }
  write(...parts) { this.socket.write(Buffer.concat(parts)); }
  saw(text) { return until(`"${text}" on the wire`, () => this.bytes.includes(text)); }
  close() { this.socket.destroy(); }
}

check('a message comes back to its sender with its seven fields, is stored, and is in the next history', async () => {
  const id = await newConversation(), client = await Client.open(id);
  assert.deepEqual(client.history, []);
  const message = await client.say('안녕하세요 😀', '홍길동');
  assert.deepEqual(Object.keys(message), ['id', 'sender_id', 'content', 'message_type', 'created_at', 'updated_at', 'is_deleted']);
  assert.equal(message.content, '안녕하세요 😀');
  assert.equal(message.sender_id, '홍길동');
  assert.deepEqual(await listMessages(id), [message]);
  assert.deepEqual((await Client.open(id)).history, [message]);
  client.close();
});

check('a history of many pages arrives as one message, and what is said meanwhile after it', async () => {
  const id = await newConversation(), content = 'x'.repeat(100_000), numbers = [...Array(12).keys()];
  for (const number of numbers) await sendMessage(id, 'node', `${number} ${content}`);
  const client = await Client.open(id);
  assert.deepEqual(client.history.map((message) => message.content), numbers.map((number) => `${number} ${content}`));
  assert.deepEqual(await listMessages(id), client.history);
  await client.say('after it');
  client.close();
});

check('two sockets of a conversation hear each other, in the same order; a third conversation hears nothing', async () => {
  const id = await newConversation(), one = await Client.open(id), two = await Client.open(id), other = await Client.open(await newConversation());
  for (let i = 0; i < 100; i++) (i % 2 ? one : two).send({ type: 'chat_message', sender_id: 'node', content: String(i) });
  await until('100 frames each', () => one.frames.length === 100 && two.frames.length === 100);
  assert.deepEqual(one.frames, two.frames);
  assert.deepEqual(one.frames.map((frame) => Number(frame.message.content)).sort((a, b) => a - b), [...Array(100).keys()]);
  assert.deepEqual(other.frames, []);
  [one, two, other].forEach((client) => client.close());
});

check('typing and read marks go to everyone, a REST send to no one', async () => {
  const id = await newConversation(), one = await Client.open(id), two = await Client.open(id), message = await one.say('read me');
  await two.next('chat_message');
  two.send({ type: 'typing', user_id: 'bob', is_typing: true });
  two.send({ type: 'mark_as_read', message_id: message.id, user_id: 'bob' });
  for (const client of [one, two]) {
    assert.deepEqual(await client.next('typing_status'), { type: 'typing_status', user_id: 'bob', is_typing: true });
    assert.deepEqual(await client.next('message_read'), { type: 'message_read', message_id: message.id, user_id: 'bob' });
  }
  await sendMessage(id, 'bob', 'by REST');
  await one.say('by socket');
  assert.equal((await two.next('chat_message')).message.content, 'by socket');
  assert.deepEqual([...one.frames, ...two.frames], []);
  [one, two].forEach((client) => client.close());
});

check('bad JSON and a missing field are answered with an error to the sender alone, and the socket stays open', async () => {
  const id = await newConversation(), one = await Client.open(id), two = await Client.open(id);
  for (const bad of ['', '{', 'nonsense', '{"type": "chat_message",}']) {
    one.send(bad);
    assert.deepEqual(await one.next('error'), { error: 'Invalid JSON format' });
  }
  one.send({ type: 'chat_message', sender_id: 'node', content: '' });
  assert.deepEqual(await one.next('error'), { error: 'sender_id와 content가 필요합니다.' });
  for (const ignored of [{}, { type: 'unknown' }, { type: null }, { type: 'Chat_Message', sender_id: 'a', content: 'b' }]) one.send(ignored);
  await one.say('still open');
  await two.next('chat_message');
  assert.deepEqual(two.frames, []);
  [one, two].forEach((client) => client.close());
});

check('where Django crashes (binary, no object, bad id, too long) an error frame comes and the socket stays open', async () => {
  const client = await Client.open(await newConversation());
  const bad = [Buffer.from([1, 2, 3]), Buffer.alloc(0), '[]', '5', '"text"', 'null', '[1, {"type": "typing"}]', '['.repeat(5000) + ']'.repeat(5000),
    JSON.stringify({ type: 'mark_as_read', message_id: 'nope', user_id: 'node' }), JSON.stringify({ type: 'chat_message', sender_id: 'x'.repeat(300), content: 'c' }),
    JSON.stringify({ type: 'chat_message', sender_id: 'a', content: 'c', message_type: null }), '{"type": "chat_message", "sender_id": "a", "content": "\\ud800"}'];
  for (const frame of bad) {
    client.socket.send(frame);
    const answer = await client.next('error');
    assert.equal(typeof answer.error, 'string');
  }
  await client.say('still open');
  client.close();
});

check('a ping is answered with its own payload, also between the fragments of a message', async () => {
  const client = await Client.open(await newConversation()), pong = () => new Promise((resolve) => client.socket.once('pong', (bytes) => resolve(String(bytes))));
  client.socket.ping('12345');
  assert.equal(await pong(), '12345');
  client.socket.send('{"type": "chat_message", "sender_id": "node", ', { fin: false });
  client.socket.ping('');
  assert.equal(await pong(), '');
  client.socket.send('"content": "in three ', { fin: false });
  client.socket.send('parts"}', { fin: true });
  assert.equal((await client.next('chat_message')).message.content, 'in three parts');
  client.close();
});

check('a character split between fragments arrives whole', async () => {
  const client = await Client.open(await newConversation()), bytes = Buffer.from(JSON.stringify({ type: 'chat_message', sender_id: 'node', content: '한글 😀' }));
  for (let i = 0; i < bytes.length; i++) client.socket.send(bytes.subarray(i, i + 1), { fin: i === bytes.length - 1, binary: false });
  assert.equal((await client.next('chat_message')).message.content, '한글 😀');
  client.close();
});

check('a message of 900 kB comes back whole', async () => {
  const client = await Client.open(await newConversation()), content = 'x'.repeat(900_000);
  assert.equal((await client.say(content)).content, content);
  client.close();
});

check('a message past the limit closes with 1009, whole or in fragments, and stores nothing', async () => {
  const id = await newConversation(), part = 'x'.repeat(700_000);
  const whole = await Client.open(id);
  whole.send({ type: 'chat_message', sender_id: 'node', content: part + part });
  assert.equal((await whole.closed).code, 1009);
  const parts = await Client.open(id);
  parts.socket.send(`{"type": "chat_message", "sender_id": "node", "content": "${part}`, { fin: false });
  parts.socket.send(`${part}"}`, { fin: true });
  assert.equal((await parts.closed).code, 1009);
  assert.deepEqual(await listMessages(id), []);
});

check('whatever code a client closes with, the server answers 1000', async () => {
  const id = await newConversation();
  for (const code of [1000, 1001, 3000, 4999, undefined]) {
    const client = await Client.open(id);
    client.socket.close(code, code && 'bye');
    assert.deepEqual(await client.closed, { code: 1000, reason: '' });
  }
});

check('refused handshakes are answered at once: 403 for an unknown conversation, 404 or 500 where no route is', async () => {
  // Daphne takes up to a second every time; a busy machine does not.
  const atOnce = (path) => until(`a refusal of ${path} at once`, async () => {
    const { status, ms } = await refusal(path);
    return ms < 500 && status;
  });
  assert.equal(await atOnce(`/ws/chat/${crypto.randomUUID()}/`), 403);
  for (const path of ['/ws/chat/nope/', `/ws/chat/${crypto.randomUUID()}`, `/ws/chat/${crypto.randomUUID().toUpperCase()}/`, '/elsewhere/']) {
    const status = await atOnce(path);
    assert.ok([404, 500].includes(status), `${path}: ${status}`);
  }
});

check('offered subprotocols and compression are not taken; any origin with a host is', async () => {
  const id = await newConversation();
  const client = await Client.open(id, { origin: 'https://elsewhere.example', perMessageDeflate: true });
  assert.equal(client.socket.protocol, '');
  assert.equal(client.socket.extensions, '');
  const raw = Raw.connect();
  raw.write(Buffer.from(String(Raw.handshake(id)).replace('\r\n\r\n', '\r\nSec-WebSocket-Protocol: chat, superchat\r\n\r\n')));
  await raw.saw('conversation_history');
  assert.ok(!/sec-websocket-protocol/i.test(raw.bytes.toString('latin1')));
  raw.close();
  client.close();
});

check('a frame in the same TCP segment as the handshake is answered, after the history', async () => {
  const raw = Raw.connect();
  raw.write(Raw.handshake(await newConversation()), Raw.frame(0x81, JSON.stringify({ type: 'chat_message', sender_id: 'node', content: 'early' })));
  await raw.saw('"early"');
  assert.ok(raw.bytes.indexOf('conversation_history') < raw.bytes.indexOf('"early"'));
  raw.close();
});

check('a handshake and a frame that arrive byte by byte are understood', async () => {
  const raw = Raw.connect(), id = await newConversation();
  for (const byte of Buffer.concat([Raw.handshake(id), Raw.frame(0x81, '{"type": "typing", "user_id": "slow"}')])) {
    raw.write(Buffer.from([byte]));
    await pause(1);
  }
  await raw.saw('"slow"');
  raw.close();
});

check('broken frames end the connection and nobody else notices', async () => {
  const id = await newConversation(), neighbour = await Client.open(id);
  const unmasked = Buffer.from([0x81, 0x02, 0x7b, 0x7d]);
  const broken = { unmasked, reserved: Raw.frame(0xc1, '{}'), opcode: Raw.frame(0x83, '{}'), continuation: Raw.frame(0x80, '{}'),
    'not UTF-8': Raw.frame(0x81, Buffer.from([0xff, 0xfe])), 'fragmented ping': Raw.frame(0x09, ''), 'long ping': Raw.frame(0x89, 'x'.repeat(126)), 'close code 999': Raw.frame(0x88, Buffer.from([0x03, 0xe7])) };
  for (const [name, frame] of Object.entries(broken)) {
    const raw = Raw.connect();
    raw.write(Raw.handshake(id));
    await raw.saw('conversation_history');
    raw.write(frame);
    await until(`the end after ${name}`, () => raw.ended);
  }
  await neighbour.say('undisturbed');
  neighbour.close();
});

// What it does at once is told apart by conversations; a refusal in time needs a machine that is not full.
await runChecks(4);
finish();
