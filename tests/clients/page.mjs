// People in headless Chromium use the chat page of a running server.
//
// BASE_URL     the server (default http://127.0.0.1:8000)
// CHROMIUM     the browser's binary (default /usr/bin/chromium)
// SCREENSHOTS  a directory for the pictures (none are kept without it)
// ONLY         run only chapters whose name contains this
import { check, assert, finish } from './lib/checks.mjs';
import { launch, Window } from './lib/browser.mjs';
import talk from './page/talk.mjs';
import outage from './page/outage.mjs';
import access from './page/access.mjs';
import looks from './page/looks.mjs';
import docs from './page/docs.mjs';

const browser = await launch();
for (const chapter of [talk, outage, access, looks, docs]) {
  if (chapter.name.includes(process.env.ONLY ?? '')) await chapter(browser);
}

await check('no window logged an error, and none asked another host for anything', async () => {
  assert.deepEqual(Window.all.flatMap((window) => window.complaints), []);
  assert.deepEqual(Window.all.flatMap((window) => window.strangers), []);
});
await browser.close();
finish();
