// The page of a server that wants to know who is asking.
//
// SIGNED_URL    a server with auth.identity = jwt and auth.policy = participants
// TOKEN_SECRET  the secret of its tokens
// SESSION_URL   a server with auth.identity = django_session, whose users sign in at /accounts/login/
import { createHmac } from 'node:crypto';
import { check, assert, person } from '../lib/checks.mjs';
import { Window } from '../lib/browser.mjs';
import { violations } from '../lib/axe.mjs';

const { SIGNED_URL, TOKEN_SECRET, SESSION_URL, SCREENSHOTS } = process.env;
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function tokenOf(user, secret = TOKEN_SECRET) {
  const text = `${base64({ alg: 'HS256' })}.${base64({ sub: user, exp: Math.floor(Date.now() / 1000) + 3600 })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

export default function identity(browser) {
  check('a token in the form and one in the address both sign in, and the two chat', async () => {
    const [one, two] = [person('alice'), person('bob')];
    const alice = await Window.open(browser, { base: SIGNED_URL });
    assert.equal(await alice.page.getByLabel('Your name').isVisible(), false);
    await alice.page.getByLabel('Your token').fill(tokenOf(one));
    await alice.page.getByRole('textbox', { name: 'Chat with (optional)' }).fill(two);
    await alice.page.getByRole('button', { name: 'Continue' }).click();
    await alice.connected();

    const bob = await Window.open(browser, { base: SIGNED_URL });
    await bob.page.goto(`${SIGNED_URL}/api/chat/?with=${encodeURIComponent(one)}#token=${tokenOf(two)}`);
    await bob.page.reload();
    await bob.connected();
    assert.ok(!bob.page.url().includes('token='), bob.page.url());
    await alice.say('signed');
    await bob.message('signed').waitFor();
    await bob.say('sealed');
    await alice.message('sealed').waitFor();
    await alice.page.reload();
    await alice.message('sealed').waitFor();
    await alice.close();
    await bob.close();
  });

  check('a token that is not good leads back to the form, with the reason', async () => {
    const window = await Window.open(browser, { base: SIGNED_URL }), { page } = window;
    const problem = page.locator('#who-problem');
    await page.getByRole('button', { name: 'Continue' }).click();
    await problem.getByText('Please enter your token.').waitFor();
    await page.getByLabel('Your token').fill('nonsense');
    await page.getByRole('button', { name: 'Continue' }).click();
    await problem.getByText('This is no token that names a user.').waitFor();
    window.expectTrouble = true;
    await page.getByLabel('Your token').fill(tokenOf(person('mallory'), 'another secret of thirty-two bytes or more'));
    await page.getByRole('button', { name: 'Continue' }).click();
    await problem.getByText('Incorrect authentication credentials.').waitFor();
    assert.equal(await page.getByLabel('Your token').isVisible(), true);
    await window.close();
  });

  for (const [locale, words] of [['en-US', ['Sign in', 'You come back here afterwards.']], ['ko-KR', ['로그인', '로그인하면 이 화면으로 돌아옵니다.']]]) {
    check(`without a session the page leads to Django's login and back, in ${locale}`, async () => {
      const window = await Window.open(browser, { base: SESSION_URL, locale }), { page } = window;
      window.expectTrouble = true;
      await page.goto(`${SESSION_URL}/api/chat/?with=bob`);
      const link = page.getByRole('link', { name: words[0], exact: true });
      await link.waitFor();
      await page.getByText(words[1]).waitFor();
      const url = new URL(await link.getAttribute('href'), SESSION_URL);
      assert.equal(url.pathname, '/accounts/login/');
      assert.equal(url.searchParams.get('next'), '/api/chat/?with=bob');
      assert.equal(await page.getByRole('button').filter({ visible: true }).count(), 0);
      assert.equal(await page.locator('#who-problem').textContent(), '');
      assert.deepEqual(await violations(page), []);
      if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/sign-in-${locale}.png` });
      await window.close();
    });
  }
}
