// Two people in two windows: names, conversations, messages, typing, read marks, the list.
import WebSocket from 'ws';
import { check, assert, until, pause, person, BASE_URL, IS_OLD } from '../lib/checks.mjs';
import { createConversation, listMessages, sendMessage } from '../lib/rest.mjs';
import { Window } from '../lib/browser.mjs';

// Over Django's protocol only the browser knows what it has shown; over ours the server counts.
const FRESH = IS_OLD ? /^New$/ : /^1 unread$/;

export default function talk(browser) {
  check('a newcomer gives a name and is told that there is nothing yet', async () => {
    const window = await Window.open(browser), name = person('newcomer');
    await window.page.getByRole('button', { name: 'Continue' }).click();
    await window.page.getByRole('alert').filter({ hasText: 'Please enter a name' }).waitFor();
    await window.page.getByLabel('Your name').fill('a/b');
    await window.page.getByRole('button', { name: 'Continue' }).click();
    await window.page.getByRole('alert').filter({ hasText: 'slash' }).waitFor();
    await window.page.getByLabel('Your name').fill(name);
    await window.page.getByRole('button', { name: 'Continue' }).click();
    await window.page.getByText('No conversations yet').waitFor();
    await window.page.goto(window.page.url().split('?')[0]);
    await window.page.getByText(name, { exact: true }).waitFor(); // the browser remembers
    await window.close();
  });

  check('two people meet by name, and a message appears on the other side at once and only once', async () => {
    const [one, two] = [person('alice'), person('bob')];
    const alice = await Window.open(browser), bob = await Window.open(browser, { me: two });
    await alice.page.getByLabel('Your name').fill(one);
    await alice.page.getByLabel('Chat with (optional)').fill(two);
    await alice.page.getByRole('button', { name: 'Continue' }).click();
    await alice.connected();
    await bob.page.getByLabel('Name to find or to start a chat with').fill(one);
    await bob.page.getByRole('button', { name: 'Chat', exact: true }).click();
    await bob.connected();
    await alice.say('안녕하세요 😀');
    await bob.message('안녕하세요 😀').waitFor();
    await bob.say('Hello yourself');
    await alice.message('Hello yourself').waitFor();
    for (const window of [alice, bob]) {
      await until('nothing to wait for', async () => await window.page.locator('.pending').count() === 0);
      assert.deepEqual(await window.shown(), ['안녕하세요 😀', 'Hello yourself']);
    }
    await Promise.all([alice.close(), bob.close()]);
  });

  if (IS_OLD) check('what Django gave the browser against forgery goes with what changes something, and with nothing else', async () => {
    const [one, two] = [person('alice'), person('bob')], token = 'aZ9b'.repeat(8);
    const alice = await Window.open(browser);
    await alice.context.addCookies([{ name: 'csrftoken', value: token, url: BASE_URL }]);
    const sent = (method) => alice.page.waitForRequest((request) => request.method() === method && request.url().includes('conversations'));
    const requests = Promise.all([sent('POST'), sent('GET')]);
    await alice.page.getByLabel('Your name').fill(one);
    await alice.page.getByLabel('Chat with (optional)').fill(two);
    await alice.page.getByRole('button', { name: 'Continue' }).click();
    await alice.connected();
    const [post, get] = await requests;
    assert.equal(post.headers()['x-csrftoken'], token);
    assert.equal(get.headers()['x-csrftoken'], undefined);
    await alice.close();
  });

  const pair = async () => {
    const [one, two] = [person('alice'), person('bob')];
    const id = await createConversation(one, two);
    const alice = await Window.open(browser, { me: one, peer: two });
    return { one, two, id, alice, openBob: () => Window.open(browser, { me: two, peer: one }) };
  };

  check('typing shows on the other side only, and goes away when the writer stops or sends', async () => {
    const { one, alice, openBob } = await pair(), bob = await openBob();
    await alice.text.pressSequentially('half a sent');
    await bob.seesTyping(alice, one);
    assert.equal(await alice.page.locator('#typing').textContent(), '');
    await bob.typing(one).waitFor({ state: 'detached' });
    await alice.text.pressSequentially('ence');
    await bob.seesTyping(alice, one);
    await alice.text.press('Enter');
    await bob.message('half a sentence').waitFor();
    assert.equal(await bob.typing(one).count(), 0);
    await Promise.all([alice.close(), bob.close()]);
  });

  check('a read mark appears when the other side has seen the message, and is not claimed before', async () => {
    const { two, alice, openBob } = await pair();
    await alice.say('Have you seen this?');
    await alice.page.locator('.message:not(.pending)').waitFor();
    const mark = alice.page.getByText(`Read by ${two}`, { exact: true });
    await pause(1_000);
    assert.equal(await mark.count(), 0);
    const bob = await openBob();
    await mark.waitFor();
    await alice.say('And this?');
    await until('two marks', async () => await mark.count() === 2);
    await Promise.all([alice.close(), bob.close()]);
  });

  check('a message further up than the window shows is not marked as read until it is scrolled to', async () => {
    const { id, one, two, alice } = await pair();
    await sendMessage(id, one, 'the oldest of all');
    for (let i = 0; i < 40; i++) await sendMessage(id, one, `filler ${i}\nwith a second line`);
    await alice.page.reload();
    await alice.connected();
    const bob = await Window.open(browser, { me: two, peer: one });
    const marked = alice.message('filler 39').getByText(`Read by ${two}`);
    await marked.waitFor();
    assert.equal(await alice.message('the oldest of all').getByText('Read by').count(), 0);
    await bob.page.locator('#log').evaluate((log) => { log.scrollTop = 0; });
    await alice.message('the oldest of all').getByText(`Read by ${two}`).waitFor({ state: 'attached' });
    await Promise.all([alice.close(), bob.close()]);
  });

  check('the list shows the newest message, and that it is new here until it has been opened', async () => {
    const [one, two] = [person('alice'), person('bob')], id = await createConversation(one, two);
    await sendMessage(id, two, 'Come and look');
    const alice = await Window.open(browser, { me: one });
    await alice.conversation(two).getByText('Come and look').waitFor();
    await alice.conversation(two).getByText(FRESH).waitFor();
    await alice.conversation(two).click();
    await alice.connected();
    await alice.conversation(two).getByText(FRESH).waitFor({ state: 'hidden' });
    await alice.say('I am looking');
    await alice.conversation(two).getByText('You: I am looking').waitFor();
    await alice.close();
  });

  check('a message sent by REST shows up in the list and in the open chat on focus, without a reload', async () => {
    const [one, two] = [person('alice'), person('bob')];
    const alice = await Window.open(browser, { me: one }), look = () => alice.page.evaluate(() => dispatchEvent(new Event('focus')));
    await alice.page.getByText('No conversations yet').waitFor();
    const id = await createConversation(two, one);
    await look();
    await alice.conversation(two).click();
    await alice.connected();
    await alice.page.getByText(`No messages yet. Say hello to ${two}.`).waitFor();
    await sendMessage(id, two, 'From a script');
    await look();
    await alice.message('From a script').waitFor();
    await alice.say('I can see you');
    await alice.page.locator('.message:not(.pending)', { hasText: 'I can see you' }).waitFor();
    await sendMessage(id, two, 'Once more');
    await look();
    await alice.message('Once more').waitFor();
    await until('the list to have it', async () => await alice.conversation(two).getByText('Once more').isVisible());
    assert.deepEqual(await alice.shown(), ['From a script', 'I can see you', 'Once more']);
    await alice.close();
  });

  check('what came by REST before the newest message that the chat shows is put in its place', async () => {
    const { alice, id, two } = await pair();
    await alice.say('first');
    await alice.page.locator('.message:not(.pending)').waitFor();
    await sendMessage(id, two, 'by REST, meanwhile');
    await alice.say('last');
    await alice.page.locator('.message:not(.pending)', { hasText: 'last' }).waitFor();
    await alice.page.evaluate(() => dispatchEvent(new Event('focus')));
    await alice.message('by REST, meanwhile').waitFor();
    assert.deepEqual(await alice.shown(), ['first', 'by REST, meanwhile', 'last']);
    await alice.close();
  });

  check('the state of the connection is shown as one\'s own, and not below the name of the other', async () => {
    const { alice, one, two } = await pair();
    assert.equal(await alice.state.textContent(), `Connected as ${one}`);
    const heading = alice.page.locator('.bar', { has: alice.page.getByRole('heading', { name: two }) });
    assert.equal(await heading.count(), 1);
    assert.ok(!/connect/i.test(await heading.textContent()), await heading.textContent());
    assert.ok((await alice.state.boundingBox()).y >= (await alice.text.boundingBox()).y, 'beside the own text box');
    await alice.close();
  });

  check('Enter sends, Shift+Enter does not, and Enter that ends a composition does not either', async () => {
    const { alice, id } = await pair();
    const input = await alice.context.newCDPSession(alice.page);
    await alice.text.focus();
    await input.send('Input.imeSetComposition', { text: '안녕', selectionStart: 2, selectionEnd: 2 });
    await alice.text.evaluate((text) => text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true })));
    await input.send('Input.insertText', { text: '안녕' });
    await alice.text.press('Shift+Enter');
    await alice.text.pressSequentially('둘째 줄');
    assert.deepEqual(await listMessages(id), []);
    assert.equal(await alice.text.inputValue(), '안녕\n둘째 줄');
    await alice.text.press('Enter');
    await until('it is stored', async () => (await listMessages(id))[0]?.content === '안녕\n둘째 줄');
    assert.equal(await alice.text.inputValue(), '');
    await alice.text.fill('  \n ');
    await alice.text.press('Enter');
    await alice.say('what comes next');
    await until('it is stored', async () => (await listMessages(id)).at(-1).content === 'what comes next');
    assert.equal((await listMessages(id)).length, 2);
    await alice.close();
  });

  check('markup in names and messages is text', async () => {
    const one = person('<b>alice'), two = person('"><img src=x>');
    const alice = await Window.open(browser, { me: one, peer: two });
    await alice.say('<img src=x onerror="document.title=1"> & <script>alert(1)</script>');
    await alice.message('<img src=x onerror="document.title=1"> & <script>alert(1)</script>').waitFor();
    assert.equal(await alice.page.locator('#app img, #app b, #app script').count(), 0);
    assert.equal(await alice.page.getByRole('heading', { name: two }).count(), 1);
    await alice.close();
  });

  check('addresses become links without a referrer; other schemes do not', async () => {
    const { alice } = await pair();
    await alice.say('see https://example.com/a?b=c and javascript:alert(1)');
    const links = alice.message('see').getByRole('link');
    await links.first().waitFor();
    assert.deepEqual(await links.evaluateAll((all) => all.map((a) => [a.href, a.rel])), [['https://example.com/a?b=c', 'noopener noreferrer nofollow']]);
    await alice.close();
  });

  check('a link ends where its address ends; www. and mail addresses are links too', async () => {
    const { alice } = await pair();
    const wiki = 'https://en.wikipedia.org/wiki/Foo_(bar)', expected = [
      [`(${wiki}).`, [[wiki, wiki]]],
      [`see ${wiki}, or [https://example.com/x]!`, [[wiki, wiki], ['https://example.com/x', 'https://example.com/x']]],
      ['“https://example.com/?q=a,b;c.”', [['https://example.com/?q=a,b;c', 'https://example.com/?q=a,b;c']]],
      ['https://example.com/((a) and https://example.com/a))', [['https://example.com/((a)', 'https://example.com/((a)'], ['https://example.com/a', 'https://example.com/a']]],
      ['at www.example.com/ferry, or WWW.EXAMPLE.ORG.', [['www.example.com/ferry', 'https://www.example.com/ferry'], ['WWW.EXAMPLE.ORG', 'https://www.example.org/']]],
      ['write to ann.lee+chat@mail.example.co.kr.', [['ann.lee+chat@mail.example.co.kr', 'mailto:ann.lee+chat@mail.example.co.kr']]],
      ['https://ann@example.com/@bob (a path, no mail)', [['https://ann@example.com/@bob', 'https://ann@example.com/@bob']]],
      ['no link: www. awww.example.com https:// http://. a@b @bob foo@ www.example', []],
    ];
    for (const [number, [words, links]] of expected.entries()) {
      // No text of which a time of the day may be a part.
      const text = `case ${number}: ${words}`;
      await alice.say(text);
      const message = alice.message(`case ${number}: `);
      await message.waitFor();
      assert.deepEqual(await message.getByRole('link').evaluateAll((all) => all.map((a) => [a.textContent, a.href])), links, words);
      assert.equal(await message.locator('.text').textContent(), text);
    }
    await alice.close();
  });

  check('a long text of brackets, dots and letters is no work for the browser', async () => {
    const { alice } = await pair();
    const took = await alice.page.evaluate(() => {
      const node = document.createElement('p'), began = performance.now();
      for (const text of [`https://a/${')'.repeat(1_000_000)}`, `https://a/${'('.repeat(1_000_000)}`, 'a.'.repeat(500_000), `${'a'.repeat(1_000_000)}@`, 'www.'.repeat(250_000), `a@${'a.'.repeat(500_000)}`]) {
        chatferry.fillText(node, text);
        if (node.textContent !== text) throw new Error(`${text.slice(0, 20)}… has changed`);
      }
      return performance.now() - began;
    });
    console.log(`      six of 1 MB: ${took.toFixed(0)} ms`);
    await alice.close();
  });

  check('what leads to the newest message covers no message', async () => {
    const { alice, id, one, two } = await pair();
    await seed(id, one, 40);
    await until('all to be there', async () => (await alice.shown()).length === 40);
    await alice.page.locator('#log').evaluate((log) => { log.scrollTop = 0; });
    await sendLive(id, two, 'news below');
    const pill = alice.page.getByRole('button', { name: '1 new' });
    await pill.waitFor();
    // Wherever it stands: the log, in which all messages are, ends above it.
    for (const place of [0, 0.3, 0.7]) {
      await alice.page.locator('#log').evaluate((log, share) => { log.scrollTop = share * (log.scrollHeight - log.clientHeight); }, place);
      const [log, button] = [await alice.page.locator('#log').boundingBox(), await pill.boundingBox()];
      assert.ok(log.y + log.height <= button.y + .5, JSON.stringify([log, button]));
    }
    await pill.click();
    await pill.waitFor({ state: 'hidden' });
    await alice.message('news below').waitFor();
    const [last, log] = [await alice.message('news below').boundingBox(), await alice.page.locator('#log').boundingBox()];
    assert.ok(last.y + last.height <= log.y + log.height + .5, 'the newest message is whole');
    await alice.close();
  });

  if (IS_OLD) check('an error frame of the server is shown and can be dismissed', async () => {
    const { alice } = await pair();
    await alice.page.evaluate(() => chatferry.room.send({ type: 'chat_message', sender_id: '' })); // the page itself never sends this
    await alice.page.getByRole('alert').filter({ hasText: 'sender_id와 content가 필요합니다.' }).waitFor();
    await alice.page.getByRole('button', { name: 'Dismiss' }).click();
    await alice.page.locator('#notice').waitFor({ state: 'hidden' });
    await alice.say('still here');
    await alice.page.locator('.message:not(.pending)').waitFor();
    await alice.close();
  });

  check('a message too long for the server stays, says so, and does not hold up the next', async () => {
    const { alice, id } = await pair();
    await alice.page.evaluate(() => chatferry.room.post('x'.repeat(1_500_000))); // so much in the text box takes Chromium half a minute
    await alice.page.locator('.failed').getByText('It is too long for this server.').waitFor();
    await alice.connected();
    await alice.say('shorter');
    await until('it is stored', async () => (await listMessages(id))[0]?.content === 'shorter');
    await alice.page.getByRole('button', { name: 'Discard' }).click();
    await until('it is gone', async () => await alice.page.locator('.failed').count() === 0);
    assert.deepEqual(await alice.shown(), ['shorter']);
    await alice.close();
  });

  check('a very long message is drawn in part, and whole when asked for', async () => {
    const { alice, id, two } = await pair();
    await sendLive(id, two, `${'long '.repeat(40_000)}end`);
    const message = alice.message('long long'), length = async () => (await message.locator('.text').textContent()).length;
    await message.waitFor();
    assert.equal(await length(), 5_000);
    await message.getByRole('button', { name: 'Show the whole message' }).click();
    assert.equal(await length(), 200_003);
    await alice.close();
  });

  check('of hundreds of messages the latest 200 are drawn, and earlier ones come without a jump', async () => {
    const { id, one, two } = await pair().then((made) => made.alice.close().then(() => made));
    await seed(id, two, 450);
    const alice = await Window.open(browser, { me: one, peer: two });
    await alice.message('number 449').waitFor();
    assert.equal((await alice.shown()).length, 200);
    const first = alice.message('number 250.');
    await alice.page.locator('#log').evaluate((log) => { log.scrollTop = 0; });
    const before = (await first.boundingBox()).y;
    await until('400 messages', async () => (await alice.shown()).length === 400);
    assert.ok(Math.abs((await first.boundingBox()).y - before) < 80, 'the message under the eye stays there');
    // Not by a click, which would scroll to the button first: that alone shows them.
    await alice.page.getByRole('button', { name: 'Show earlier messages' }).dispatchEvent('click');
    await until('all 450', async () => (await alice.shown()).length === 450);
    assert.equal(await alice.page.getByRole('button', { name: 'Show earlier messages' }).count(), 0);
    await sendLive(id, two, 'news below');
    await alice.page.getByRole('button', { name: '1 new' }).click();
    await alice.message('news below').waitFor();
    await until('200 again', async () => (await alice.shown()).length === 200);
    await alice.close();
  });
}

// Fills a conversation through its own socket: much quicker than one request per message.
async function seed(id, sender, count) {
  await onSocket(id, count, (socket) => {
    for (let i = 0; i < count; i++) socket.send(JSON.stringify({ type: 'chat_message', sender_id: sender, content: `number ${i}.` }));
  });
}
const sendLive = (id, sender, content) =>
  onSocket(id, 1, (socket) => socket.send(JSON.stringify({ type: 'chat_message', sender_id: sender, content })));

async function onSocket(id, echoes, work) {
  const socket = new WebSocket(`${BASE_URL.replace('http', 'ws')}/ws/chat/${id}/`);
  await new Promise((resolve, reject) => {
    socket.on('error', reject).on('open', () => work(socket)).on('message', (frame) => {
      if (JSON.parse(frame).type === 'chat_message' && --echoes === 0) resolve();
    });
  });
  socket.close();
}
