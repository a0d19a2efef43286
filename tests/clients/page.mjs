// People in headless Chromium use the chat page of a running server.
//
// BASE_URL     the server (default http://127.0.0.1:8000)
// NATIVE       `false` if the server has native.enabled = false
// The server keeps files of up to 1 MiB.
// SIGNED_URL   one that wants tokens, signed with TOKEN_SECRET
// SESSION_URL  one that knows Django's sessions, with a place to sign in
// CHROMIUM     the browser's binary (default /usr/bin/chromium-headless-shell, which opens a window in a third of the time)
// SCREENSHOTS  a directory for the pictures (none are kept without it)
// ONLY         run only these chapters, as in `talk,outage`
import { check, assert, runChecks, finish } from './lib/checks.mjs';
import { launch, Window } from './lib/browser.mjs';
import talk from './page/talk.mjs';
import native from './page/native.mjs';
import files from './page/files.mjs';
import outage from './page/outage.mjs';
import access from './page/access.mjs';
import looks from './page/looks.mjs';
import docs from './page/docs.mjs';
import identity from './page/identity.mjs';

// Most of a check is waiting, for the page's own timers too. More at a time only make each slower on two cores.
const AT_ONCE = 6;

const browser = await launch();
for (const chapter of [talk, native, files, outage, access, looks, docs, identity]) {
  if (!process.env.ONLY || process.env.ONLY.split(',').includes(chapter.name)) await chapter(browser);
}
await runChecks(AT_ONCE);

check('no window logged an error, and none asked another host for anything', async () => {
  assert.deepEqual(Window.all.flatMap((window) => window.complaints), []);
  assert.deepEqual(Window.all.flatMap((window) => window.strangers), []);
});
await runChecks(1);
await browser.close();
finish();
