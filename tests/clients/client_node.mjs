// The JavaScript client of compat/client in Node, on a network that fails. BASE_URL as in page.mjs.
import WebSocket from 'ws';
import { ChatClient, ChatFiles, newId } from '../../compat/client/chatferry.js';
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

check('an edit and a deletion arrive, live and after a lost connection, and nobody else may', async () => {
  const id = await newConversation();
  const relay = await Relay.to(BASE_URL);
  const [alice, bob] = [client('alice'), client('bob', relay.url)];
  const [here, there] = [alice.join(id), bob.join(id)];
  await until('both are live', () => here.isLive && there.isLive);
  assert.ok(alice.can('edit'));
  const sent = [];
  for (const content of ['one', 'two', 'three', 'four']) sent.push(await here.send(content));
  await until('all are shown', () => there.messages.length === 4);
  const gone = [];
  there.on('deleted', (message) => gone.push(message.content));
  const edited = await here.edit(sent[0].id, 'ONE');
  assert.deepEqual([edited.content, edited.created_at], ['ONE', sent[0].created_at]);
  await here.delete(sent[1].id);
  await until('both changes are there', () => contents(there.messages).join() === 'ONE,three,four');
  await assert.rejects(there.edit(sent[0].id, 'mine'), { code: 'not_yours', retry: false });
  await assert.rejects(there.delete(sent[0].id), { code: 'not_yours', retry: false });
  relay.cut();
  await until('the connection is lost', () => !there.isLive);
  await here.edit(sent[2].id, 'THREE');
  await here.delete(sent[3].id);
  await here.send('five');
  relay.mend();
  await until('all is there', () => contents(there.messages).join() === 'ONE,THREE,five');
  assert.deepEqual(gone, ['two', 'four']);
  assert.deepEqual(await stored(id), ['ONE', 'THREE', 'five']);
  for (const each of [alice, bob]) each.close();
  relay.close();
});

check('what arrives is reported as delivered by itself, and receipts say who has read what', async () => {
  const id = await newConversation();
  const [alice, bob] = [client('alice'), client('bob')];
  const here = alice.join(id);
  await until('it is live', () => here.isLive);
  assert.ok(alice.can('receipts'));
  const sent = await Promise.all(Array.from({ length: 150 }, (_, n) => here.send(String(n))));
  const ids = sent.map((message) => message.id);
  assert.deepEqual(await here.receipts(ids), []);
  const delivered = new Set();
  here.on('delivered', ({ messages, user }) => { for (const message of messages) delivered.add(`${user} ${message}`); });
  const there = bob.join(id, undefined, 150);
  await until('all are delivered', () => delivered.size === 150);
  assert.deepEqual([...delivered].sort(), ids.map((message) => `bob ${message}`).sort());
  await there.read(ids.slice(0, 120));
  const status = (wanted) => (receipts) => receipts.filter((receipt) => receipt.status === wanted).length;
  const receipts = await here.receipts(ids);
  assert.deepEqual([status('read')(receipts), status('delivered')(receipts)], [120, 30]);
  const silent = new ChatClient(address(BASE_URL), { sender: 'carol', WebSocket, delivered: false });
  const quiet = silent.join(id);
  await until('it is live', () => quiet.isLive);
  const last = await here.send('last');
  await until('all have it', () => quiet.message(last.id) && delivered.has(`bob ${last.id}`));
  assert.ok(!delivered.has(`carol ${last.id}`));
  for (const each of [alice, bob, silent]) each.close();
});

check('what is too long is refused before the server closes, and what waits can be taken back', async () => {
  const id = await newConversation();
  const relay = await Relay.to(BASE_URL);
  const alice = client('alice', relay.url);
  const here = alice.join(id);
  await until('it is live', () => here.isLive);
  await assert.rejects(here.send('x'.repeat(2_000_000)), { code: 'too_long', retry: false });
  assert.ok(here.isLive);
  relay.cut();
  await until('the connection is lost', () => !alice.isOpen);
  const [kept, taken] = [newId(), newId()];
  const sending = here.send('kept', { id: kept }), never = here.send('taken back', { id: taken });
  assert.equal(here.withdraw(taken), true);
  await assert.rejects(never, { code: 'withdrawn' });
  relay.mend();
  assert.equal((await sending).id, kept);
  assert.equal(here.withdraw(kept), false);
  assert.deepEqual(await stored(id), ['kept']);
  alice.close();
  relay.close();
});

check('a connection that swallows everything is given up, and at once when asked to wake', async () => {
  const id = await newConversation();
  const relay = await Relay.to(BASE_URL);
  const [alice, bob] = [client('alice', relay.url), client('bob', relay.url)];
  const [here, there] = [alice.join(id), bob.join(id)];
  await until('both are live', () => here.isLive && there.isLive);
  relay.freeze();
  const sending = here.send('into the void');
  bob.wake();
  await until('both notice', () => !alice.isOpen && !bob.isOpen);
  relay.mend();
  alice.wake();
  bob.wake();
  assert.equal((await sending).content, 'into the void');
  await until('the other has it', () => contents(there.messages).join() === 'into the void');
  assert.deepEqual(await stored(id), ['into the void']);
  alice.close();
  bob.close();
  relay.close();
});

check('the list of conversations has the last message and what is not read, and a new one opens by name', async () => {
  const [one, two, three] = [person('list'), person('list'), person('list')];
  const [alice, bob] = [client(one), client(two)];
  await until('both are open', () => alice.isOpen && bob.isOpen);
  assert.ok(alice.can('conversations'));
  const made = await alice.open(two);
  assert.deepEqual([...made.members].sort(), [one, two].sort());
  assert.equal((await bob.open(one)).id, made.id);
  const there = bob.join(made.id);
  await there.send('hello');
  const last = await there.send('again');
  const other = await alice.open(three);
  const { conversations } = await alice.conversations();
  assert.deepEqual(conversations.map(({ id }) => id).sort(), [made.id, other.id].sort());
  const entry = conversations.find(({ id }) => id === made.id);
  assert.deepEqual([entry.last.id, entry.unread], [last.id, 2]);
  assert.equal(conversations.find(({ id }) => id === other.id).last, null);
  const paged = [];
  let after;
  do {
    const page = await alice.conversations({ limit: 1, after });
    paged.push(...page.conversations);
    after = page.next;
  } while (after);
  assert.deepEqual(paged, conversations);
  alice.close();
  bob.close();
});

check('a group is made, changed and left, and each member has its newest state', async () => {
  const [one, two, three] = [person('group'), person('group'), person('group')];
  const [alice, bob] = [client(one), client(two)];
  await until('both are open', () => alice.isOpen && bob.isOpen);
  assert.ok(alice.can('groups'));
  // The user that a subscription names gets news of memberships.
  const between = bob.join((await bob.open(one)).id);
  await until('bob is live', () => between.isLive);
  const news = [];
  bob.on('membership', ({ conversation, is_member: isMember }) => news.push([conversation, isMember]));
  const made = await alice.create('여행', [two], 'key');
  assert.equal((await alice.create('여행', [two], 'key')).id, made.id);
  const here = alice.join(made.id), there = bob.join(made.id);
  await until('both are live', () => here.isLive && there.isLive);
  assert.equal(there.group.name, '여행');
  await here.invite([three]);
  await here.rename('모임');
  await here.assign(two, 'owner');
  await until('bob has it all', () => there.group.version === 4);
  assert.deepEqual(there.group.members, [
    { user: one, role: 'owner' }, { user: two, role: 'owner' }, { user: three, role: 'member' },
  ].sort((a, b) => (a.user < b.user ? -1 : 1)));
  await there.send('hello all');
  await until('alice has heard it', () => contents(here.messages).join() === 'hello all');
  await assert.rejects(here.remove('nobody').then(() => here.assign('nobody', 'owner')), ({ code }) => code === 'no_member');
  await there.remove(three);
  await here.quit();
  await until('bob is alone', () => there.group.members.length === 1);
  const { conversations } = await bob.conversations();
  assert.equal(conversations.find(({ id }) => id === made.id).group.name, '모임');
  assert.deepEqual(news[0], [made.id, true]);
  alice.close();
  bob.close();
});

check('who is in a conversation is known, until the last connection ends', async () => {
  const [one, two] = [person('alice'), person('bob')];
  const id = await createConversation(one, two);
  const [alice, bob, again] = [client(one), client(two), client(two)];
  const here = alice.join(id);
  await until('it is live', () => here.isLive);
  assert.ok(alice.can('presence'));
  const [there, too] = [bob.join(id), again.join(id)];
  await until('both know', () => here.online.has(two) && there.online.has(one) && too.isLive);
  bob.close();
  const seen = [];
  here.on('presence', ({ users }) => seen.push(...users));
  await too.send('still here');
  await until('it has come', () => contents(here.messages).includes('still here'));
  assert.ok(here.online.has(two));
  again.close();
  await until('nobody is there', () => !here.online.has(two));
  assert.deepEqual(seen.filter(({ user }) => user === two).at(-1), { user: two, online: false });
  alice.close();
});

check('a file is uploaded, sent with a message and read at its link', async () => {
  const id = await newConversation();
  const [alice, bob] = [client('alice'), client('bob')];
  const [here, there] = [alice.join(id), bob.join(id)];
  await until('both are live', () => here.isLive && there.isLive);
  assert.ok(alice.can('attachments') && alice.limits.attachments > 0);
  const files = (user) => new ChatFiles(`${BASE_URL}/api/v1/`, { user });
  const file = await files('alice').upload(new Blob(['some text']), { name: '글.txt' });
  assert.deepEqual([file.name, file.type, file.size], ['글.txt', 'text/plain', 9]);
  const sent = await here.send('', { attachments: [file.id] });
  assert.deepEqual([sent.content, sent.attachments], ['', [file]]);
  await until('it has come', () => there.messages.length === 1);
  assert.deepEqual(there.messages[0].attachments, [file]);
  const mine = files('bob');
  const link = (await mine.links([file.id, newId()])).get(file.id);
  assert.equal(await (await fetch(BASE_URL + link.url)).text(), 'some text');
  assert.equal((await mine.links([file.id])).get(file.id).url, link.url, 'it is used again');
  await assert.rejects(here.send('twice', { attachments: [file.id] }), { code: 'no_attachment' });
  await assert.rejects(files('alice').upload(new Blob([])), { code: 'bad_request', retry: false });
  const away = new ChatFiles('http://127.0.0.1:9/', {}).upload(new Blob(['x']));
  await assert.rejects(away, { code: 'unavailable', retry: true });
  alice.close();
  bob.close();
});

await runChecks(6);
finish();
