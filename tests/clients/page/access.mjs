// The page without a mouse, and to assistive technology.
import { check, assert, until, person, BASE_URL } from '../lib/checks.mjs';
import { createConversation, sendMessage } from '../lib/rest.mjs';
import { Window, PHONE } from '../lib/browser.mjs';
import { violations } from '../lib/axe.mjs';

const CONTROLS = new Set(['button', 'link', 'textbox', 'searchbox', 'checkbox', 'combobox']);

export default function access(browser) {
  check('from the first visit to a sent message and back, with the keyboard alone', async () => {
    const [one, two, three] = [person('alice'), person('bob'), person('carol')];
    await sendMessage(await createConversation(one, three), three, 'hi');
    const { page, ...window } = await Window.open(browser), keys = page.keyboard;
    const at = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    assert.equal(await at(), 'who-me');
    await keys.type(one);
    await keys.press('Tab');
    await keys.type(two);
    await keys.press('Enter');
    await page.locator('#state[data-state="open"]').waitFor();
    await until('the message box has the focus', async () => await at() === 'text');
    await keys.type('no mouse here');
    await keys.press('Enter');
    await page.locator('.message:not(.pending)', { hasText: 'no mouse here' }).waitFor();
    await until('both are listed', async () => await page.locator('#list a').count() === 2);

    await page.locator('#find-name').focus();
    await keys.press('Tab');
    await keys.press('Tab');
    const first = await at();
    await keys.press('ArrowDown');
    assert.notEqual(await at(), first);
    await keys.press('ArrowUp');
    assert.equal(await at(), first);
    await page.locator('#list a', { hasText: three }).focus();
    await keys.press('Enter');
    await page.getByRole('heading', { name: three }).waitFor();
    await until('the message box has the focus again', async () => await at() === 'text');
    await page.goBack();
    await page.getByRole('heading', { name: two }).waitFor();
    await window.context.close();
  });

  check('every stop of the Tab key has a name, a visible focus and a place inside the window', async () => {
    const [one, two] = [person('alice'), person('bob')], window = await Window.open(browser, { me: one, peer: two }), { page } = window;
    await window.conversation(two).waitFor();
    const stops = [];
    for (let i = 0; i < 30; i++) {
      if (i === 0) await page.locator('#skip').focus(); else await page.keyboard.press('Tab');
      const stop = await page.evaluate(() => {
        const node = document.activeElement, box = node.getBoundingClientRect(), looks = getComputedStyle(node);
        return { id: node.id || node.tagName, ring: looks.outlineStyle !== 'none' && parseFloat(looks.outlineWidth) >= 2,
          inside: box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth && box.width > 0 };
      });
      if (stop.id === 'BODY' || stops.some((other) => other.id === stop.id && stop.id !== 'A')) break;
      stops.push(stop);
    }
    // The button for notifications is there only where the browser has not been asked yet.
    assert.deepEqual(stops.map((stop) => stop.id).filter((id) => id !== 'BUTTON' && id !== 'notify'), ['skip', 'search-all', 'switch', 'make-group', 'find-name', 'A', 'search-room', 'log', 'A', 'attach', 'text', 'send']);
    assert.deepEqual(stops.filter((stop) => !stop.ring || !stop.inside), []);
    await window.close();
  });

  check('every control has a name, in every view', async () => {
    const [one, two] = [person('alice'), person('bob')];
    await sendMessage(await createConversation(one, two), two, 'hello https://example.com/');
    for (const options of [{}, { me: one }, { me: one, peer: two }, { me: one, peer: two, ...PHONE }]) {
      const window = await Window.open(browser, options), devtools = await window.context.newCDPSession(window.page);
      const { nodes } = await devtools.send('Accessibility.getFullAXTree');
      const controls = nodes.filter((node) => !node.ignored && CONTROLS.has(node.role?.value));
      assert.ok(controls.length >= 3, `only ${controls.length} controls`);
      assert.deepEqual(controls.filter((node) => !node.name?.value.trim()).map((node) => node.role.value), []);
      await window.close();
    }
  });

  check('axe finds no violation, in every view, light and dark', async () => {
    const [one, two] = [person('alice'), person('bob')];
    await sendMessage(await createConversation(one, two), two, 'hello https://example.com/');
    const views = [{}, { me: one }, { me: one, peer: two }].flatMap((view) => [view, { ...view, ...PHONE }, { ...view, colorScheme: 'dark' }]);
    for (const options of views) {
      const window = await Window.open(browser, options);
      if (options.peer) await window.message('hello').waitFor();
      else if (options.me) await window.conversation(two).waitFor();
      assert.deepEqual(await violations(window.page), [], JSON.stringify(options));
      await window.close();
    }
    for (const options of [{}, PHONE, { colorScheme: 'dark' }]) {
      const window = await Window.open(browser, options);
      await window.page.goto(`${BASE_URL}/docs`);
      await window.page.getByRole('heading', { name: 'WebSocket' }).waitFor();
      for (const summary of await window.page.locator('summary').all()) await summary.click();
      assert.deepEqual(await violations(window.page), [], `/docs ${JSON.stringify(options)}`);
      await window.close();
    }
  });

  check('every view has one heading of the first level, a phone\'s too', async () => {
    const [one, two] = [person('alice'), person('bob')];
    for (const options of [{}, { me: one }, { me: one, peer: two }].flatMap((view) => [view, { ...view, ...PHONE }])) {
      const window = await Window.open(browser, options);
      await until('the heading', async () => await window.page.getByRole('heading', { level: 1 }).count() === 1);
      await window.close();
    }
  });

  check('the landmarks, the log and each message read well', async () => {
    const [one, two] = [person('alice'), person('bob')], id = await createConversation(one, two);
    await sendMessage(id, two, 'How are you?');
    await sendMessage(id, one, 'Well, thanks');
    const window = await Window.open(browser, { me: one, peer: two });
    await window.message('Well, thanks').waitFor();
    const tree = await window.page.locator('body').ariaSnapshot();
    for (const line of ['navigation "Conversations"', 'main', 'region "Chat"', `heading "${two}" [level=2]`, `log "Messages with ${two}"`, `textbox "Message to ${two}"`,
      'button "Send message"', 'heading "Chatferry" [level=1]']) assert.ok(tree.includes(line), `${line} is missing in\n${tree}`);
    assert.match(tree, new RegExp(`listitem:[^]*${two}: How are you\\?`));
    assert.match(tree, /listitem:[^]*You: Well, thanks/);
    await window.close();
  });

  check('news is announced, the history is not', async () => {
    const [one, two] = [person('alice'), person('bob')], id = await createConversation(one, two);
    await sendMessage(id, two, 'old');
    const alice = await Window.open(browser, { me: one });
    await alice.page.evaluate(() => {
      window.heard = []; // what a screen reader would take from the log
      new MutationObserver((changes) => {
        for (const change of changes) {
          if (document.getElementById('log').getAttribute('aria-live') === 'off') continue;
          for (const node of change.addedNodes) if (node.classList?.contains('message')) window.heard.push(node.querySelector('.text').textContent);
        }
      }).observe(document.getElementById('messages'), { childList: true });
    });
    await alice.conversation(two).click();
    await alice.message('old').waitFor();
    const bob = await Window.open(browser, { me: two, peer: one });
    await alice.page.locator('#log[aria-live="polite"]').waitFor();
    await bob.say('new');
    await alice.message('new').waitFor();
    assert.deepEqual(await alice.page.evaluate(() => window.heard), ['new']);
    assert.equal(await alice.page.locator('#log').getAttribute('aria-live'), 'polite');
    await Promise.all([alice.close(), bob.close()]);
  });

  check('on a phone, list and chat take turns; back returns to the list and to its place', async () => {
    const [one, two] = [person('alice'), person('bob')];
    await createConversation(one, two);
    const window = await Window.open(browser, { me: one, ...PHONE }), { page } = window;
    await window.conversation(two).tap();
    await window.connected();
    assert.equal(await page.getByRole('navigation').isVisible(), false);
    await page.getByRole('button', { name: 'Back to conversations' }).tap();
    await window.conversation(two).waitFor();
    assert.equal(await page.getByRole('region', { name: 'Chat' }).isVisible(), false);
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'A');
    assert.equal(new URL(page.url()).searchParams.get('with'), null);
    await window.close();
    const linked = await Window.open(browser, { me: one, peer: two, ...PHONE }); // came by a link: there is no page to go back to
    await linked.page.getByRole('button', { name: 'Back to conversations' }).tap();
    await linked.conversation(two).waitFor();
    await linked.close();
  });

  check('motion stops for those who ask for it', async () => {
    const [one, two] = [person('alice'), person('bob')];
    const alice = await Window.open(browser, { me: one, peer: two, reducedMotion: 'reduce' });
    const bob = await Window.open(browser, { me: two, peer: one });
    await bob.text.pressSequentially('hm');
    await alice.seesTyping(bob, two);
    assert.equal(await alice.page.evaluate(() => document.getAnimations().length), 0);
    await Promise.all([alice.close(), bob.close()]);
  });
}
