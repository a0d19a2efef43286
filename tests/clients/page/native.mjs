// What the page has over chatferry.v1 alone: edits, receipts, presence, live counts, an outbox that outlives its tab.
import { check, assert, until, person, BASE_URL } from '../lib/checks.mjs';
import { Relay } from '../lib/relay.mjs';
import { Window, PHONE } from '../lib/browser.mjs';
import { violations } from '../lib/axe.mjs';

export default function native(browser) {
  const open = (me, peer, options = {}) => Window.open(browser, { me, peer, ...options });
  const people = () => [person('alice'), person('bob')];
  const choose = async (window, content, action) => {
    await window.message(content).locator('.more').click();
    await window.page.getByRole('menuitem', { name: action }).click();
  };
  const sent = (window, content) => window.page.locator('.message:not(.pending)', { hasText: content }).waitFor();
  const closeAll = (...windows) => Promise.all(windows.map((window) => window.close()));

  check('an edit shows on both sides as an edit, and after a reload', async () => {
    const [one, two] = people(), alice = await open(one, two), bob = await open(two, one);
    await alice.say('See you at fife');
    await bob.message('See you at fife').waitFor();
    await choose(alice, 'fife', 'Edit');
    assert.equal(await alice.text.inputValue(), 'See you at fife');
    await alice.say('See you at five');
    for (const window of [alice, bob]) {
      await window.message('See you at five').waitFor();
      assert.deepEqual(await window.shown(), ['See you at five']);
    }
    await alice.page.locator('#context').waitFor({ state: 'hidden' });
    assert.equal(await alice.text.inputValue(), '');
    await bob.page.reload();
    await bob.message('See you at five').waitFor();
    assert.deepEqual(await bob.shown(), ['See you at five']);
    assert.equal(await bob.message('five').locator('.more').count(), 1);
    await bob.message('five').locator('.more').click();
    assert.equal(await bob.page.getByRole('menuitem', { name: 'Edit' }).count(), 0, 'not one\'s own');
    await closeAll(alice, bob);
  });

  check('a deleted message goes on both sides and does not come back', async () => {
    const [one, two] = people(), alice = await open(one, two), bob = await open(two, one);
    await alice.say('stays');
    await alice.say('goes');
    await bob.message('goes').waitFor();
    await choose(alice, 'goes', 'Delete');
    for (const window of [alice, bob]) await until('it is gone', async () => (await window.shown()).join() === 'stays');
    await alice.page.reload();
    await alice.message('stays').waitFor();
    await alice.connected();
    assert.deepEqual(await alice.shown(), ['stays']);
    await alice.conversation(two).getByText('You: stays').waitFor();
    await closeAll(alice, bob);
  });

  check('a reply shows what it answers', async () => {
    const [one, two] = people(), alice = await open(one, two), bob = await open(two, one);
    await alice.say('Coffee or tea?\nOr something else?');
    await bob.message('Coffee or tea?').waitFor();
    await choose(bob, 'Coffee or tea?', 'Reply');
    await bob.page.locator('#context').getByText(`Reply to ${one}`).waitFor();
    await bob.say('The green one');
    for (const window of [alice, bob]) {
      await window.message('The green one').waitFor();
      assert.equal(await window.page.locator('.quote:visible').textContent(), 'Coffee or tea?\nOr something else?');
      assert.equal((await window.shown()).at(-1), 'The green one');
    }
    await closeAll(alice, bob);
  });

  check('ticks tell sent, delivered and read apart, and survive a reload', async () => {
    const [one, two] = people(), alice = await open(one, two);
    await alice.say('Did you get it?');
    const ticks = (state) => alice.message('Did you get it?').locator(`.ticks[data-state="${state}"]`);
    await ticks('sent').waitFor();
    const bob = await open(two);
    await bob.conversation(one).waitFor();
    await ticks('delivered').waitFor();
    await alice.page.reload();
    await ticks('delivered').waitFor();
    await alice.page.getByText(`Delivered to ${two}`).waitFor({ state: 'attached' });
    await bob.conversation(one).click();
    await ticks('read').waitFor();
    await alice.page.reload();
    await ticks('read').waitFor();
    await alice.page.getByText(`Read by ${two}`).waitFor({ state: 'attached' });
    await closeAll(alice, bob);
  });

  check('the list counts what is not read as it comes, in the title too, and the same in every window', async () => {
    const [one, two] = people(), bob = await open(two, one), alice = await open(one), again = await open(one);
    for (const window of [alice, again]) await window.conversation(two).waitFor();
    await bob.say('one');
    await bob.say('two');
    for (const window of [alice, again]) {
      await window.conversation(two).getByText('2 unread').waitFor();
      await window.conversation(two).getByText('two', { exact: true }).waitFor();
      await until('the title counts', async () => (await window.page.title()).startsWith('(2) '));
    }
    await alice.conversation(two).click();
    await alice.message('two').waitFor();
    await again.conversation(two).getByText('unread').waitFor({ state: 'hidden' });
    await until('the title does not', async () => !(await again.page.title()).startsWith('('));
    await closeAll(alice, again, bob);
  });

  check('who is there is shown, and who has gone is not', async () => {
    const [one, two] = people(), alice = await open(one, two), online = alice.page.locator('#presence');
    await online.getByText('Offline').waitFor();
    const bob = await open(two, one);
    await online.getByText('Online').waitFor();
    await alice.conversation(two).locator('.online').waitFor();
    await bob.close();
    await online.getByText('Offline').waitFor();
    await alice.conversation(two).locator('.online').waitFor({ state: 'hidden' });
    await alice.close();
  });

  check('a line stands above what is new, until the next visit', async () => {
    const [one, two] = people(), bob = await open(two, one), alice = await open(one, two);
    await bob.say('old');
    await bob.message('old').getByText(`Read by ${one}`).waitFor({ state: 'attached' });
    await alice.page.goto('about:blank');
    await bob.say('new one');
    await sent(bob, 'new one');
    await alice.page.goto(`${BASE_URL}/api/chat/?${new URLSearchParams({ me: one, with: two })}`);
    await alice.page.locator('.line').waitFor();
    const order = await alice.page.locator('#messages > li:not(.day)').evaluateAll((all) => all.map((node) => node.querySelector('.text')?.textContent ?? 'line'));
    assert.deepEqual(order, ['old', 'line', 'new one']);
    await bob.message('new one').getByText(`Read by ${one}`).waitFor({ state: 'attached' });
    await alice.page.reload();
    await alice.message('new one').waitFor();
    await alice.connected();
    assert.equal(await alice.page.locator('.line').count(), 0);
    await closeAll(alice, bob);
  });

  check('what was written without a network outlives its tab and is stored once, though two tabs have it', async () => {
    const [one, two] = people(), relay = await Relay.to(BASE_URL), bob = await open(two, one);
    const alice = await open(one, two, { base: relay.url });
    alice.expectTrouble = true;
    const [first, address] = [alice.page, alice.page.url()];
    relay.deafen();
    await alice.say('said to a deaf line');
    await bob.message('said to a deaf line').waitFor();
    relay.cut();
    await alice.disconnected();
    await alice.say('said to nobody');
    await alice.text.fill('a draft');
    await first.close();
    relay.mend();
    const tabs = [await alice.context.newPage(), await alice.context.newPage()];
    for (const tab of tabs) await tab.goto(address);
    for (const tab of tabs) await until('both are there', async () => await tab.locator('.message:not(.pending)').count() === 2);
    await bob.message('said to nobody').waitFor();
    assert.deepEqual(await bob.shown(), ['said to a deaf line', 'said to nobody']);
    for (const tab of tabs) {
      assert.deepEqual(await tab.locator('#messages .message .text').allTextContents(), ['said to a deaf line', 'said to nobody']);
      assert.equal(await tab.locator('#text').inputValue(), 'a draft');
    }
    assert.deepEqual(await tabs[0].evaluate(() => Object.keys(localStorage).filter((key) => key.includes('outbox'))), []);
    await closeAll(alice, bob);
    relay.close();
  });

  check('what comes while nobody looks is notified of, for those who want it', async () => {
    const [one, two] = people(), alice = await open(one, two), bob = await open(two, one);
    await alice.page.evaluate(() => {
      window.notes = [];
      window.Notification = class extends EventTarget {
        static permission = 'granted';
        constructor(title, { body }) { super(); window.notes.push([title, body]); }
      };
      Object.defineProperty(document, 'hidden', { value: true });
    });
    await bob.say('Are you there?');
    await until('it is notified of', async () => (await alice.page.evaluate(() => window.notes)).length === 1);
    assert.deepEqual(await alice.page.evaluate(() => window.notes), [[two, 'Are you there?']]);
    await until('the title counts', async () => (await alice.page.title()).startsWith('(1) '));
    await closeAll(alice, bob);
  });

  check('the actions of each message are within reach of the keyboard', async () => {
    const [one, two] = people(), { page, ...alice } = await open(one, two), keys = page.keyboard;
    for (const text of ['first', 'second']) {
      await page.locator('#text').fill(text);
      await keys.press('Enter');
      await page.locator('.message:not(.pending)', { hasText: text }).waitFor();
    }
    await page.locator('#log').focus();
    await keys.press('Tab');
    const at = () => page.evaluate(() => document.activeElement.closest('.message')?.querySelector('.text').textContent ?? document.activeElement.textContent);
    assert.equal(await at(), 'second');
    await keys.press('ArrowUp');
    assert.equal(await at(), 'first');
    await keys.press('Enter');
    assert.equal(await at(), 'Reply');
    await keys.press('Escape');
    assert.equal(await at(), 'first');
    await page.locator('#text').focus();
    await keys.press('ArrowUp');
    assert.equal(await page.locator('#text').inputValue(), 'second');
    await keys.press('Escape');
    assert.equal(await page.locator('#text').inputValue(), '');
    await alice.context.close();
  });

  check('a group is made, spoken in, changed and left', async () => {
    const [one, two] = people(), three = person('carol'), alice = await open(one, two), bob = await open(two, one);
    const part = (window, id) => window.page.locator(`#${id}`);
    await part(alice, 'make-group').click();
    await alice.page.getByRole('button', { name: 'Make the group' }).click();
    await part(alice, 'new-problem').getByText('Please enter a name.').waitFor();
    assert.deepEqual(await violations(alice.page), []);
    const name = `Trip of ${one}`;
    await part(alice, 'new-name').fill(name);
    await part(alice, 'new-members').fill(`${two}, ${three}`);
    await alice.page.getByRole('button', { name: 'Make the group' }).click();
    await alice.page.getByRole('heading', { name }).waitFor();
    await alice.connected();
    await alice.say('hello all');
    await bob.page.locator('#list a', { hasText: name }).click();
    await bob.message('hello all').waitFor();
    assert.equal(await bob.message('hello all').locator('.from').textContent(), `${one}:`);
    await part(bob, 'presence').getByText('3 members').waitFor();
    await bob.say('hello both');
    await alice.message('hello both').waitFor();
    await part(alice, 'members-open').click();
    const row = (window, user) => part(window, 'member-list').locator('li', { hasText: user });
    await row(alice, two).getByRole('button', { name: 'Make owner' }).click();
    await row(alice, two).getByText('owner', { exact: true }).waitFor();
    assert.deepEqual(await violations(alice.page), []);
    await row(alice, three).getByRole('button', { name: 'Remove' }).click();
    await part(bob, 'presence').getByText('2 members').waitFor();
    await part(alice, 'rename-name').fill(`${name} and back`);
    await part(alice, 'rename').getByRole('button').click();
    await bob.page.getByRole('heading', { name: `${name} and back` }).waitFor();
    await part(alice, 'quit').click();
    await part(bob, 'presence').getByText('1 member', { exact: true }).waitFor();
    await until('it is in her list no more', async () => await alice.page.locator('#list a', { hasText: name }).count() === 0);
    // The address of a group leads to it again.
    await bob.page.reload();
    await bob.message('hello both').waitFor();
    await closeAll(alice, bob);
  });

  check('it speaks Korean to those whose browser does', async () => {
    const [one, two] = people(), window = await open(one, two, { locale: 'ko-KR' });
    await window.say('안녕');
    await sent(window, '안녕');
    await window.page.getByRole('button', { name: '메시지 보내기' }).waitFor();
    assert.equal(await window.page.evaluate(() => document.documentElement.lang), 'ko-KR');
    const english = await window.page.evaluate(() => document.body.innerText.match(/\b(You|Change|Chat|Message|Connected|Find|Send|sends)\b/g));
    assert.equal(english, null);
    await window.close();
  });

  check('axe finds no violation in a menu, an edit, a reply, a line and Korean', async () => {
    for (const options of [{}, PHONE, { colorScheme: 'dark' }, { locale: 'ko-KR' }]) {
      const [one, two] = people(), bob = await open(two, one), alice = await open(one, two, options);
      await alice.say('mine');
      await sent(alice, 'mine');
      await bob.say('theirs');
      await alice.message('theirs').waitFor();
      await alice.message('mine').locator('.more').click();
      assert.deepEqual(await violations(alice.page), [], `menu ${JSON.stringify(options)}`);
      await alice.page.getByRole('menuitem').nth(2).click();
      assert.deepEqual(await violations(alice.page), [], `edit ${JSON.stringify(options)}`);
      await closeAll(alice, bob);
    }
  });
}
