// How the page looks: pictures, and what can be measured about them.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { check, assert, until, person, BASE_URL } from '../lib/checks.mjs';
import { createConversation, sendMessage } from '../lib/rest.mjs';
import { Window, DESKTOP, PHONE } from '../lib/browser.mjs';
import { Relay } from '../lib/relay.mjs';
import { judge } from '../lib/picture.mjs';

const FOLDER = process.env.SCREENSHOTS;
const NARROWEST = { ...PHONE, viewport: { width: 320, height: 560 } };

// Everything that tends to break a layout.
const AWKWARD = [
  ['peer', 'Are you taking the evening ferry?'],
  ['me', 'Yes, the 18:40 one. 🌊'],
  ['peer', '안녕하세요 😀 내일 몇 시에 만날까요? 부두 앞 카페에서 기다리겠습니다.'],
  ['me', '여섯 시 반이 좋아요.'],
  ['peer', 'مرحبا! هذا نص من اليمين إلى اليسار، مع كلمة English في الوسط.'],
  ['peer', `Donaudampfschiff${'fahrtsgesellschaft'.repeat(12)}`],
  ['me', `https://example.com/${'a-long-path/'.repeat(12)}`],
  ['third person with a rather long name of their own', 'May I join?'],
  ['me', 'One line\n\nand, after a gap,\n  an indented one.'],
];

export default async function looks(browser) {
  if (FOLDER) await mkdir(FOLDER, { recursive: true });
  const me = person('alice'), plain = person('bob'), long = person(`Dr. Maximilian${'-Alexander'.repeat(12)}`);
  for (const [peer, lines] of [[plain, AWKWARD], [long, AWKWARD.slice(0, 3)], [person('김하늘'), [['peer', '내일 봬요!']]], [person('مريم'), []]]) {
    const id = await createConversation(me, peer);
    for (const [who, content] of lines) await sendMessage(id, { me, peer }[who] ?? who, content);
  }

  const picture = async (window, name) => {
    const bytes = await window.page.screenshot({ path: FOLDER && path.join(FOLDER, `${name}.png`) });
    return judge(browser, bytes);
  };
  const views = [
    ['welcome', {}], ['welcome-phone', PHONE], ['desktop', { me, peer: plain, ...DESKTOP }], ['dark', { me, peer: plain, colorScheme: 'dark' }],
    ['phone', { me, peer: plain, ...PHONE }], ['phone-dark', { me, peer: plain, ...PHONE, colorScheme: 'dark' }], ['phone-list', { me, ...PHONE }],
    ['phone-long-name', { me, peer: long, ...PHONE }], ['narrowest', { me, peer: plain, ...NARROWEST }],
    ['korean', { me, peer: plain, locale: 'ko-KR' }], ['right-to-left', { me, peer: plain, dir: 'rtl' }],
    ['wide', { me, peer: plain, viewport: { width: 2200, height: 1000 } }],
  ];
  for (const [name, options] of views) {
    check(`${name}: drawn, nothing sticks out, every text has contrast`, async () => {
      const window = await Window.open(browser, options);
      if (options.dir) await window.page.evaluate((dir) => { document.documentElement.dir = dir; }, options.dir);
      if (options.peer) await window.page.locator('.message').first().waitFor();
      if (options.me) await window.page.locator('#list a').nth(3).waitFor({ state: 'attached' });
      const looks = await picture(window, name);
      assert.ok(looks.colours > 40 && looks.spread > 8, `nearly blank: ${JSON.stringify(looks)}`);
      assert.equal(looks.light > 128, options.colorScheme !== 'dark', `mean brightness ${looks.light}`);
      assert.deepEqual(await window.page.evaluate(measureLayout), []);
      assert.deepEqual(await window.page.evaluate(measureContrast), []);
      await window.close();
    });
  }

  check('phone: what a thumb must hit is at least 44 px high and wide', async () => {
    for (const options of [{ ...PHONE }, { me, ...PHONE }, { me, peer: plain, ...PHONE }]) {
      const window = await Window.open(browser, options);
      const small = await window.page.evaluate(() => [...document.querySelectorAll('button:not(.text-button), input, textarea, #list a')]
        .map((node) => [node.id || node.className || node.tagName, node.getBoundingClientRect()])
        .filter(([, box]) => box.width > 0 && (box.width < 44 || box.height < 44)).map(([name]) => name));
      assert.deepEqual(small, []);
      await window.close();
    }
  });

  check('typing, read marks, an outage and an error in one picture each', async () => {
    const one = person('alice'), two = person('bob');
    const relay = await Relay.to(BASE_URL);
    const alice = await Window.open(browser, { me: one, peer: two, base: relay.url }), bob = await Window.open(browser, { me: two, peer: one });
    await picture(alice, 'empty');
    await alice.say('The 18:40 ferry?');
    await bob.message('18:40').waitFor();
    await bob.say('I will be there');
    await alice.page.getByText(`Read by ${two}`).waitFor({ state: 'attached' });
    await bob.text.pressSequentially('on ti');
    await alice.seesTyping(bob, two);
    await picture(alice, 'talk');
    assert.deepEqual(await alice.page.evaluate(measureLayout), []);
    alice.expectTrouble = true;
    relay.cut();
    await alice.disconnected();
    await alice.page.evaluate(() => chatferry.showNotice('Something the server said.'));
    await alice.say('Written while offline');
    await alice.page.getByText('The connection is lost').waitFor();
    await picture(alice, 'outage');
    assert.deepEqual(await alice.page.evaluate(measureLayout), []);
    assert.deepEqual(await alice.page.evaluate(measureContrast), []);
    await Promise.all([alice.close(), bob.close()]);
    relay.close();
  });

  check('the message box grows with its text, and stops before it takes the window', async () => {
    const window = await Window.open(browser, { me, peer: plain, ...PHONE });
    const height = async () => (await window.text.boundingBox()).height, low = await height();
    await window.text.fill('a\nb\nc');
    await until('it has grown', async () => await height() > low + 30);
    await window.text.fill('line\n'.repeat(60));
    assert.ok(await height() <= 162);
    assert.deepEqual(await window.page.evaluate(measureLayout), []);
    await window.text.fill('');
    assert.equal(await height(), low);
    await window.close();
  });
}

// Runs in the page: what is wider than the window, or whose box leaves it or its scrolling parent sideways.
function measureLayout() {
  const faults = [];
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page is ${document.documentElement.scrollWidth} px wide in ${innerWidth}`);
  if (document.documentElement.scrollHeight > innerHeight + 1) faults.push('the page scrolls as a whole');
  for (const node of document.querySelectorAll('body *')) {
    const box = node.getBoundingClientRect(), hidden = node.closest('.unseen, .skip, svg, .joined .from');
    if (hidden || !box.width || !node.checkVisibility()) continue;
    const name = `${node.tagName.toLowerCase()}#${node.id}.${node.className}`;
    if (box.left < -.5 || box.right > innerWidth + .5) faults.push(`${name} leaves the window: ${box.left} to ${box.right}`);
    const fixed = !node.closest('#messages, #list, #log-empty, #earlier');
    if (fixed && (box.top < -.5 || box.bottom > innerHeight + .5)) faults.push(`${name} leaves the window: ${box.top} to ${box.bottom}`);
    if (node.matches('.bubble, .text') && node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== 'inline') faults.push(`${name} is overfull`);
  }
  return faults.slice(0, 5);
}

// Runs in the page: texts whose contrast with the ground they stand on is below 4.5 (WCAG 1.4.3).
function measureContrast() {
  const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if ((colour[3] ?? 1) === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faults = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if ((!own && !node.placeholder) || node.closest('.unseen, .skip, noscript, template, script') || !node.checkVisibility()) continue;
    const ink = parse(getComputedStyle(node, node.placeholder && !node.value ? '::placeholder' : null).color);
    const [high, low] = [luminance(ink), luminance(ground(node))].sort((a, b) => b - a), ratio = (high + .05) / (low + .05);
    if (ratio < 4.5) faults.push(`${node.tagName}#${node.id}.${node.className} "${node.textContent.slice(0, 20)}": ${ratio.toFixed(2)}`);
  }
  return faults.slice(0, 5);
}
