// Headless Chromium: windows of people who chat. Each window keeps what it complained about and which hosts it asked.
import { chromium } from 'playwright-core';
import { BASE_URL, PATIENCE_MS, until } from './checks.mjs';

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
export const DESKTOP = { viewport: { width: 1200, height: 800 } };
export const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium-headless-shell', args: FLAGS, timeout: PATIENCE_MS });

export class Window {
  static all = [];
  complaints = []; // console errors, page errors
  strangers = []; // requests that left the server's origin
  expectTrouble = false; // while a test spoils the network, Chromium logs each failed request

  static async open(browser, { me, peer, base = BASE_URL, ...options } = {}) {
    const window = new Window();
    Window.all.push(window);
    window.context = await browser.newContext({ locale: 'en-GB', timezoneId: 'Asia/Seoul', ...DESKTOP, ...options });
    window.page = await window.context.newPage();
    window.page.setDefaultTimeout(PATIENCE_MS);
    window.#listen(new URL(base).host);
    await window.page.goto(`${base}/api/chat/${me ? `?${new URLSearchParams({ me, ...(peer && { with: peer }) })}` : ''}`);
    if (peer) await window.connected();
    return window;
  }

  #listen(host) {
    const { page } = this;
    const strange = (url) => { if (!/^(data|blob|about):/.test(url) && new URL(url).host !== host) this.strangers.push(url); };
    page.on('request', (request) => strange(request.url()));
    page.on('websocket', (socket) => strange(socket.url()));
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('dialog', (dialog) => dialog.accept());
    page.on('console', (line) => {
      const failedRequest = /ERR_|WebSocket connection|Failed to load resource/.test(line.text());
      if (['error', 'warning'].includes(line.type()) && !(this.expectTrouble && failedRequest)) this.complaints.push(line.text());
    });
  }

  get text() { return this.page.locator('#text'); }
  get state() { return this.page.locator('#state'); }
  message(content) { return this.page.getByRole('log').getByRole('listitem').and(this.page.locator('.message')).filter({ hasText: content }); }
  conversation(peer) { return this.page.getByRole('navigation').getByRole('link').filter({ hasText: peer }); }
  connected() { return this.page.locator('#state[data-state="open"]').waitFor(); }
  disconnected() { return this.page.locator('#state:not([data-state="open"])').waitFor(); }

  async say(content) {
    await this.text.fill(content);
    await this.text.press('Enter');
  }
  // Waits until this window shows that the writer types. It does so for seconds only, which a busy machine may look away for.
  async seesTyping(writer, name) {
    await until(`${name} to be typing`, async () => {
      if (await this.typing(name).isVisible()) return true;
      await writer.text.dispatchEvent('input');
    });
  }
  typing(name) { return this.page.getByText(`${name} is typing…`); }
  // What the log shows: the texts of all messages, from top to bottom.
  shown() { return this.page.locator('#messages .message .text').allTextContents(); }
  close() { return this.context.close(); }
}
