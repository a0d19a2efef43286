// The JavaScript client of compat/client in Node, on a network that fails. BASE_URL as in page.mjs.
import WebSocket from 'ws';
import { ChatClient, newId } from '../../compat/client/chatferry.js';
import { check, assert, runChecks, finish, until, pause, person, BASE_URL } from './lib/checks.mjs';
import { createConversation, listMessages, sendMessage } from './lib/rest.mjs';
import { Relay } from './lib/relay.mjs';

const address = (base) => `${base.replace(/^http/, 'ws')}/ws/chat/`;
const client = (sender, base = BASE_URL) => new ChatClient(address(base), { sender, WebSocket });
const newConversation = () => createConversation(person('client'), person('client'));
const contents = (messages) => messages.map((message) => message.content);
const stored = async (id) => contents(await listMessages(id));

check('what one says the other hears, and both keep it once and in one order', async () => {
  const id = await newConversation();
  const [alice, bob] = [client('alice'), client('bob')];
  const [here, there] = [alice.join(id), bob.join(id)];
  await until('both are live', () => here.isLive && there.isLive);
  const sent = await Promise.all(Array.from({ length: 40 }, (_, n) => (n % 2 ? here : there).send(String(n))));
  assert.equal(new Set(sent.map((message) => message.id)).size, 40);
  await until('all are shown', () => here.messages.length === 40 && there.messages.length === 40);
  const order = contents(here.messages);
  assert.deepEqual(contents(there.messages), order);
  assert.deepEqual(await stored(id), order);
  alice.close();
  bob.close();
});

check('a network that comes and goes loses nothing and doubles nothing', async () => {
  const id = await newConversation();
  const relay = await Relay.to(BASE_URL);
  const [alice, bob] = [client('alice', relay.url), client('bob')];
  const [here, there] = [alice.join(id), bob.join(id)];
  await until('both are live', () => here.isLive && there.isLive);
  const sending = [];
  for (let round = 0; round < 8; round += 1) {
    for (let n = 0; n < 10; n += 1) sending.push(here.send(`${round}.${n}`), there.send(`back ${round}.${n}`));
    // Answers are lost although the messages are stored; then the connection itself.
    relay.deafen();
    await pause(30);
    relay.cut();
    await pause(30);
    relay.mend();
    await until('the client is back', () => here.isLive);
  }
  const sent = await Promise.all(sending);
  assert.equal(new Set(sent.map((message) => message.id)).size, 160);
  await until('all are shown', () => here.messages.length === 160 && there.messages.length === 160);
  const order = contents(here.messages);
  assert.deepEqual(contents(there.messages), order);
  assert.deepEqual(await stored(id), order);
  const own = order.filter((content) => !content.startsWith('back'));
  assert.deepEqual(own, Array.from({ length: 80 }, (_, n) => `${Math.floor(n / 10)}.${n % 10}`));
  assert.equal(alice.unsent, 0);
  alice.close();
  bob.close();
  relay.close();
});

check('what is said without a connection is sent when there is one', async () => {
  const id = await newConversation();
  const relay = await Relay.to(BASE_URL);
  relay.cut();
  const alice = client('alice', relay.url);
  const sending = [alice.join(id).send('one'), alice.join(id).send('two')];
  await until('it was refused', () => relay.refused > 0);
  assert.equal(alice.unsent, 2);
  relay.mend();
  assert.deepEqual(contents(await Promise.all(sending)), ['one', 'two']);
  assert.deepEqual(await stored(id), ['one', 'two']);
  alice.close();
  relay.close();
});

check('who comes back with a cursor reads on, and older messages are there for who asks', async () => {
  const id = await newConversation();
  for (let n = 0; n < 70; n += 1) await sendMessage(id, 'rest', String(n));
  const first = client('alice');
  const here = first.join(id);
  await until('it is live', () => here.isLive);
  assert.equal(here.messages.length, 50);
  const { cursor } = here;
  first.close();
  await sendMessage(id, 'rest', 'missed');
  const again = client('alice');
  const back = again.join(id, cursor);
  await until('it is live', () => back.isLive);
  assert.ok(contents(back.messages).includes('missed'));
  const whole = client('alice');
  const all = whole.join(id);
  await until('it is live', () => all.isLive);
  while (await all.older(30));
  assert.deepEqual(contents(all.messages), [...Array.from({ length: 70 }, (_, n) => String(n)), 'missed']);
  again.close();
  whole.close();
});

check('what is refused is refused for good, and one fault costs nobody else', async () => {
  const id = await newConversation();
  const alice = client('alice');
  const here = alice.join(id);
  const nowhere = alice.join(newId());
  const ended = new Promise((resolve) => nowhere.on('ended', resolve));
  assert.equal((await ended).code, 'no_conversation');
  const taken = (await sendMessage(id, 'rest', 'theirs')).id;
  await assert.rejects(here.send('mine', { id: taken }), { code: 'id_taken', retry: false });
  assert.equal((await here.send('fine')).content, 'fine');
  const waiting = alice.join(newId()).send('never');
  alice.close();
  await assert.rejects(waiting, { code: 'closed' });
});

check('read marks and typing arrive', async () => {
  const id = await newConversation();
  const [alice, bob] = [client('alice'), client('bob')];
  const [here, there] = [alice.join(id), bob.join(id)];
  await until('both are live', () => here.isLive && there.isLive);
  const heard = [];
  here.on('read', (mark) => heard.push(mark.message));
  here.on('typing', ({ user }) => heard.push(user));
  const { id: message } = await here.send('hello');
  there.typing();
  await there.read([message]);
  await until('both are told', () => heard.length === 2);
  assert.deepEqual(heard, ['bob', message]);
  await here.send('and again');
  assert.deepEqual([...await bob.unread([id])], [[id, 1]]);
  assert.deepEqual([...await alice.unread([id])], [[id, 0]]);
  alice.close();
  bob.close();
});

await runChecks(6);
finish();
