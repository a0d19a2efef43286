// Files that are sent with messages, and the search for messages.
import { check, assert, until, person } from '../lib/checks.mjs';
import { Window } from '../lib/browser.mjs';
import { violations } from '../lib/axe.mjs';

// A GIF of one pixel.
const PIXEL = Buffer.from('R0lGODlhAQABAPAAAP8AAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64');

export default function files(browser) {
  const open = (me, peer, options = {}) => Window.open(browser, { me, peer, ...options });
  const people = () => [person('alice'), person('bob')];
  const closeAll = (...windows) => Promise.all(windows.map((window) => window.close()));
  const choose = (window, ...chosen) => window.page.locator('#attach-files').setInputFiles(chosen);
  const send = async (window) => {
    await until('all is uploaded', async () => await window.page.locator('#send').getAttribute('aria-disabled') === 'false');
    await window.page.locator('#send').click();
  };
  const picture = { name: 'red.gif', mimeType: 'image/gif', buffer: PIXEL };
  const note = { name: 'note.txt', mimeType: 'text/plain', buffer: Buffer.from('a note') };

  check('an image is shown and opens, another file is downloaded, on both sides and after a reload', async () => {
    const [one, two] = people(), alice = await open(one, two), bob = await open(two, one);
    await alice.page.getByRole('button', { name: 'Attach files' }).waitFor();
    await choose(alice, picture, note);
    await alice.page.locator('#uploads').getByText('note.txt').waitFor();
    await alice.text.fill('Two files');
    await send(alice);
    await bob.message('Two files').waitFor();
    await bob.page.reload();
    for (const window of [alice, bob]) {
      const image = window.page.getByAltText('red.gif');
      await until('the image is there', () => image.evaluate((node) => node.complete && node.naturalWidth === 1));
    }
    const [opened] = await Promise.all([bob.context.waitForEvent('page'), bob.page.getByAltText('red.gif').click()]);
    await opened.waitForLoadState();
    assert.equal(await opened.evaluate(() => document.contentType), 'image/gif');
    const [download] = await Promise.all([bob.page.waitForEvent('download'), bob.page.getByRole('link', { name: 'note.txt' }).click()]);
    assert.equal(download.suggestedFilename(), 'note.txt');
    assert.equal(await alice.page.locator('#uploads li').count(), 0);
    assert.deepEqual(await violations(bob.page), []);
    await closeAll(alice, bob);
  });

  check('what is pasted or dropped is attached, can be taken out again, and is sent without a text', async () => {
    const [one, two] = people(), alice = await open(one, two), bob = await open(two, one);
    const give = (kind) => alice.page.evaluate(([type, bytes]) => {
      const data = new DataTransfer(), target = document.getElementById('text');
      data.items.add(new File([Uint8Array.from(bytes)], `${type}.gif`, { type: 'image/gif' }));
      const event = type === 'paste' ? new ClipboardEvent(type, { clipboardData: data, bubbles: true, cancelable: true })
        : new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true });
      target.dispatchEvent(event);
    }, [kind, [...PIXEL]]);
    await alice.page.locator('#attach').waitFor();
    await give('paste');
    await give('drop');
    await alice.page.getByRole('button', { name: 'Remove paste.gif' }).click();
    await send(alice);
    await bob.page.getByAltText('drop.gif').waitFor();
    assert.equal(await bob.page.getByAltText('paste.gif').count(), 0);
    await bob.conversation(one).getByText('Files: drop.gif').waitFor();
    await closeAll(alice, bob);
  });

  check('a file that is too large is said to be so, and the text stays', async () => {
    const [one, two] = people(), alice = await open(one, two);
    await alice.page.locator('#attach').waitFor();
    await alice.text.fill('a text');
    await choose(alice, { name: 'large.txt', mimeType: 'text/plain', buffer: Buffer.alloc(1_100_000, 'a') });
    await alice.page.getByRole('alert').filter({ hasText: 'large.txt is too large' }).waitFor();
    assert.equal(await alice.text.inputValue(), 'a text');
    await alice.close();
  });

  check('a search finds a message in any conversation and leads to it, by the keyboard too', async () => {
    const [one, two] = people(), three = person('carol');
    const bob = await open(two, one);
    await bob.say('내일 점심 같이 먹을래요?');
    for (let count = 0; count < 3; count += 1) await bob.say(`and ${count} more`);
    const alice = await open(one, three);
    await alice.conversation(two).getByText('and 2 more').waitFor();
    await alice.page.getByRole('button', { name: 'Search this conversation' }).click();
    const dialog = alice.page.getByRole('dialog');
    await dialog.getByLabel('Text to find').fill('점심');
    await dialog.getByText('Nothing was found.').waitFor();
    await dialog.getByLabel('In this conversation only').uncheck();
    await dialog.getByText('1 found').waitFor();
    assert.deepEqual(await violations(alice.page), []);
    await dialog.getByLabel('Text to find').press('ArrowDown');
    await alice.page.keyboard.press('Enter');
    await alice.page.locator('.message.sought', { hasText: '점심' }).waitFor();
    await alice.page.getByRole('heading', { name: two }).waitFor();
    assert.equal(await dialog.count(), 0);
    await closeAll(alice, bob);
  });
}
