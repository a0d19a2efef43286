// The network goes away in different ways: the page says so, loses nothing, and shows nothing twice.
import { check, assert, until, pause, person, BASE_URL, IS_OLD } from '../lib/checks.mjs';
import { createConversation, listMessages } from '../lib/rest.mjs';
import { Relay } from '../lib/relay.mjs';
import { Window } from '../lib/browser.mjs';

// What the page says of a message that was sent and has not come back, before and after it gives up its connection.
const UNKNOWN = /Sending…|Checking whether it arrived…/;

export default function outage(browser) {
  // alice sits behind a relay that can be spoiled; bob has a good line.
  const setUp = async () => {
    const [one, two] = [person('alice'), person('bob')], id = await createConversation(one, two), relay = await Relay.to(BASE_URL);
    const alice = await Window.open(browser, { me: one, peer: two, base: relay.url });
    const bob = await Window.open(browser, { me: two, peer: one });
    alice.expectTrouble = true;
    const tearDown = async () => { await Promise.all([alice.close(), bob.close()]); relay.close(); };
    return { one, two, id, relay, alice, bob, tearDown };
  };
  const same = async (id, windows, texts) => {
    for (const window of windows) await until(`${texts.length} messages`, async () => (await window.shown()).length >= texts.length);
    for (const window of windows) await until('nothing to wait for', async () => await window.page.locator('.pending').count() === 0);
    await pause(2_500); // longer than the page takes to look once more for what it does not know the fate of
    for (const window of windows) assert.deepEqual(await window.shown(), texts);
    assert.deepEqual((await listMessages(id)).map((message) => message.content), texts);
  };

  check('a cut connection is shown; what both wrote meanwhile is there once when it is back', async () => {
    const { id, relay, alice, bob, tearDown } = await setUp();
    await alice.say('before');
    await bob.message('before').waitFor();
    relay.cut();
    await alice.page.getByText('The connection is lost').waitFor();
    await until('it says so', async () => await alice.state.textContent() === 'Not connected'); // and not that it tries again
    await alice.say('written offline');
    await alice.say('written offline');
    await alice.message('Waiting for the connection').first().waitFor();
    await bob.say('said while you were away');
    await bob.message('said while you were away').waitFor();
    relay.mend();
    await alice.page.getByRole('button', { name: 'Try now' }).click({ timeout: 5_000 }).catch(() => {}); // it may have come back by itself
    await alice.connected();
    await alice.page.getByText('The connection is lost').waitFor({ state: 'hidden' });
    await same(id, [alice, bob], ['before', 'said while you were away', 'written offline', 'written offline']);
    await tearDown();
  });

  check('it comes back by itself, without a click', async () => {
    const { id, relay, alice, bob, tearDown } = await setUp();
    relay.cut();
    await alice.disconnected();
    await until('it has tried in vain', () => relay.refused > 0);
    relay.mend();
    await alice.connected();
    await bob.say('welcome back');
    await same(id, [alice, bob], ['welcome back']);
    await tearDown();
  });

  check('a message whose echo got lost is recognised in the history and not sent again', async () => {
    const { id, relay, alice, bob, tearDown } = await setUp();
    relay.deafen();
    await alice.say('did you get this?');
    await bob.message('did you get this?').waitFor();
    await alice.message(UNKNOWN).waitFor(); // it arrived, but alice cannot know
    relay.mend();
    await alice.connected();
    await same(id, [alice, bob], ['did you get this?']);
    await tearDown();
  });

  check('a network that swallows everything is noticed, and the message goes out when it is back', async () => {
    const { id, relay, alice, bob, tearDown } = await setUp();
    relay.freeze();
    await alice.say('into the void');
    await alice.message(UNKNOWN).waitFor();
    await until('the page notices', async () => await alice.state.getAttribute('data-state') !== 'open');
    relay.mend();
    await alice.connected();
    await same(id, [alice, bob], ['into the void']);
    await tearDown();
  });

  check('unsent messages survive a reload of the page', async () => {
    const { id, relay, alice, bob, tearDown } = await setUp();
    relay.deafen();
    await alice.say('once');
    await bob.message('once').waitFor();
    relay.cut();
    await alice.disconnected();
    await alice.say('twice');
    relay.mend();
    await alice.page.reload();
    await alice.connected();
    await same(id, [alice, bob], ['once', 'twice']);
    await tearDown();
  });

  check('an unsent message goes out even if another chat has been opened meanwhile, and a draft stays in its chat', async () => {
    const { id, one, two, relay, alice, bob, tearDown } = await setUp(), third = person('carol');
    await createConversation(one, third);
    await alice.page.evaluate(() => dispatchEvent(new Event('focus')));
    await alice.conversation(third).waitFor();
    relay.cut();
    await alice.disconnected();
    await alice.say('for bob');
    await alice.text.fill('a draft for bob');
    await alice.conversation(third).click();
    await alice.page.getByRole('heading', { name: third }).waitFor();
    assert.equal(await alice.text.inputValue(), '');
    await alice.conversation(two).getByText('1 not sent yet').waitFor();
    relay.mend();
    await bob.message('for bob').waitFor();
    await alice.conversation(two).click();
    await alice.connected();
    assert.equal(await alice.text.inputValue(), 'a draft for bob');
    await same(id, [alice, bob], ['for bob']);
    await tearDown();
  });

  check('an unsent message can be discarded', async () => {
    const { id, relay, alice, tearDown } = await setUp();
    relay.cut();
    await alice.disconnected();
    await alice.say('better not');
    await alice.page.getByRole('button', { name: 'Discard' }).click();
    relay.mend();
    await alice.connected();
    await alice.say('this instead');
    await same(id, [alice], ['this instead']);
    await tearDown();
  });

  if (IS_OLD) check('a page whose server has gone back to a version without our protocol comes back on the old one', async () => {
    const [one, two] = [person('alice'), person('bob')], window = await Window.open(browser, { me: two });
    await createConversation(one, two);
    window.expectTrouble = true;
    // As a newer version had answered.
    await window.page.route('**/api/chat/?*', async (route) => {
      const response = await route.fetch(), page = await response.text();
      await route.fulfill({ response, body: page.replace('name="chat-native" content="false"', 'name="chat-native" content="true"') });
    }, { times: 1 });
    await window.page.goto(`${BASE_URL}/api/chat/?${new URLSearchParams({ me: one, with: two })}`);
    assert.equal(await window.page.evaluate(() => chatferry.isNative), true);
    await window.connected();
    assert.equal(await window.page.evaluate(() => chatferry.isNative), false);
    await window.say('still here');
    await window.page.locator('.message:not(.pending)', { hasText: 'still here' }).waitFor();
    await window.close();
  });

  check('the browser going offline shows the state as well', async () => {
    const { alice, bob, relay, id, tearDown } = await setUp();
    await alice.context.setOffline(true);
    relay.cut(); // Chromium keeps open sockets alive when it plays offline
    await alice.disconnected();
    await bob.say('while offline');
    relay.mend();
    await alice.context.setOffline(false);
    await alice.connected();
    await same(id, [alice, bob], ['while offline']);
    await tearDown();
  });
}
