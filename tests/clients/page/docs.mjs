// The API document as people read it.
import { check, assert, BASE_URL } from '../lib/checks.mjs';
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
}
