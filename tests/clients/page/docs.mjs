// The API document as people read it.
import { check, assert, BASE_URL } from '../lib/checks.mjs';
import { violations } from '../lib/axe.mjs';
import { Window } from '../lib/browser.mjs';

export default function docs(browser) {
  check('the document shows every path, and what a path takes when it is opened', async () => {
    const { page, context } = await Window.open(browser);
    await page.goto(`${BASE_URL}/docs`);
    await page.getByRole('heading', { name: 'WebSocket' }).waitFor();
    const { paths } = await (await fetch(`${BASE_URL}/openapi.json`)).json();
    const shown = await page.locator('summary').allTextContents();
    for (const path of Object.keys(paths)) assert.ok(shown.some((text) => text.includes(` ${path} `)), path);

    await page.locator('summary', { hasText: 'Store a message' }).click();
    await page.getByRole('link', { name: 'NewMessage' }).filter({ visible: true }).first().click();
    await page.locator('#NewMessage[open]').getByText('message_type?').waitFor();
    await page.locator('summary', { hasText: 'The WebSocket of a conversation' }).click();
    await page.locator('pre', { hasText: '"conversation_history"' }).waitFor();
    await context.close();
  });

  check('the status page shows that the server is ready, and six curves', async () => {
    const { page, context } = await Window.open(browser);
    await page.goto(`${BASE_URL}/status`);
    await page.getByText('ready, runs since').waitFor();
    const values = page.locator('figure b');
    assert.equal(await values.count(), 6);
    // A curve has its first point after two looks.
    await page.locator('polyline[points]').nth(5).waitFor({ state: 'attached' });
    assert.match(await values.nth(4).textContent(), /MiB$/);
    const settings = await page.locator('dl div').filter({ hasText: 'Channel layer' }).textContent();
    assert.match(settings, /redis|memory/);
    assert.deepEqual(await violations(page), []);
    await context.close();
  });
}
