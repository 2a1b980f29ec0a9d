// The status page in a real Chromium. Usage: node page.mjs PICTURES < JSON, which has
// - few: the address of an exporter of some accounts, one of them not up, whose numbers change all the time
// - many: the address of one with many accounts, of which names are account-0, account-1, ...
// - hostile: texts with markup that the first one's page must show as they are
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

const pictures = process.argv[2];
const { few, many, hostile } = JSON.parse(readFileSync(0, 'utf8'));
mkdirSync(pictures, { recursive: true });

// Whatever hangs is told by what was printed last.
setTimeout(() => { console.error('it takes too long'); process.exit(1); }, 240_000).unref();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

// A page of its own, which complains of nothing and asks for nothing from elsewhere.
const visit = async (options, address, look) => {
  console.log(JSON.stringify(options), address);
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  let offline = false;
  page.on('console', (message) => offline || complaints.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(`error: ${error}`));
  page.on('dialog', (dialog) => { complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(new URL(address).origin) && !url.startsWith('data:')) complaints.push(`request: ${url}`);
  });
  await page.goto(address);
  await look(page, { context, setOffline: async (off) => { offline = off; await context.setOffline(off); } });
  assert.deepEqual(complaints, [], JSON.stringify(options));
  await context.close();
};

// What looks runs as JavaScript in the page; without, the page is the same.
const accessible = async (page, what, javaScript = true) => {
  if (!javaScript) return;
  await page.evaluate(axe.source);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
  assert.deepEqual(found, [], what);
  assert.ok(passes.length > 20, `${what}: axe looked at nothing`);
};

const contents = async (page, what) => {
  const text = await page.locator('body').innerText();
  for (const words of [
    'tryvox-exporter', 'Version 0.', 'up for', 'Accounts up', 'Suspended', 'Monthly fees', 'Numbers by country and status',
    'Monthly fees by country and currency', 'Recent changes', 'Recent errors', 'Next poll', 'Last poll',
    'The API does not accept the key.', 'Write a valid key', 'is not up', 'old; polled every',
    ...hostile,
  ]) {
    assert.ok(text.includes(words), `${what}: no ${JSON.stringify(words)} in ${text}`);
  }
  for (const target of ['/metrics', '/-/healthy', '/-/ready', '#docs']) {
    assert.equal(await page.locator(`header a[href="${target}"]`).count(), 1, target);
  }
  for (const landmark of ['header', 'main', 'footer', 'nav', '[role=search]']) {
    assert.ok(await page.locator(landmark).count() >= 1, landmark);
  }
  assert.ok(await page.locator('svg.chart rect').count() >= 2, 'no bars');
  assert.equal(await page.locator('h1').count(), 1);
  // Nothing of what was written by others became part of the page.
  assert.equal(await page.locator('script').count(), 1);
  assert.equal(await page.locator('img, iframe, object, marquee, b').count(), 0);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${what}: ${wide} px wider than the screen`);
};

for (const width of [390, 1440]) {
  for (const colorScheme of ['light', 'dark']) {
    for (const javaScriptEnabled of [true, false]) {
      const what = `${width}-${colorScheme}${javaScriptEnabled ? '' : '-without-js'}`;
      const options = { viewport: { width, height: width === 390 ? 844 : 900 }, colorScheme, javaScriptEnabled };
      await visit(options, few, async (page) => {
        await contents(page, what);
        await accessible(page, what, javaScriptEnabled);
        await page.locator('summary').click();
        await page.locator('details table').waitFor();
        await accessible(page, `${what}, with its table`, javaScriptEnabled);
        await page.screenshot({ path: `${pictures}/page-${what}.png`, fullPage: true });
      });
    }
  }
}

// It keeps itself current, and leaves alone who reads, types and tabs.
await visit({ viewport: { width: 1440, height: 900 } }, few, async (page, { setOffline }) => {
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the accounts');
  await page.locator('summary').click();
  await page.locator('#q').fill('acc');
  const text = () => page.locator('#summary').innerText();
  const before = await text();
  await page.waitForFunction((before) => document.querySelector('#summary').innerText !== before, before, { timeout: 60000 });
  assert.equal(await page.locator('#q').inputValue(), 'acc');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'q');
  assert.equal(await page.locator('details[open]').count(), 1);
  // Also who stands on a link that was made anew meanwhile.
  await page.locator('.notice a').focus();
  const link = await page.locator('.notice a').getAttribute('href');
  const then = await text();
  await page.waitForFunction((then) => document.querySelector('#summary').innerText !== then, then, { timeout: 60000 });
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('href')), link);

  await setOffline(true);
  await page.getByText('No answer from the exporter since').waitFor({ timeout: 60000 });
  await page.screenshot({ path: `${pictures}/page-offline.png` });
  await setOffline(false);
  await page.waitForFunction(() => document.querySelector('#connection').textContent === '', null, { timeout: 60000 });
});

// Without JavaScript it is as current as when it was asked for.
await visit({ javaScriptEnabled: false }, few, async (page) => {
  const before = await page.locator('#as-of').innerText();
  do {
    await page.reload();
  } while (await page.locator('#as-of').innerText() === before);
});

// Many accounts: the summary first, some of them on a page, the rest by page and by name.
for (const javaScriptEnabled of [true, false]) {
  await visit({ viewport: { width: 390, height: 844 }, javaScriptEnabled }, many, async (page) => {
    assert.ok(await page.locator('.card').count() <= 24);
    assert.ok((await page.content()).length < 100_000);
    await accessible(page, 'many', javaScriptEnabled);
    const first = await page.locator('.card h3').allInnerTexts();
    await page.getByRole('link', { name: 'Next' }).click();
    await page.waitForURL(/page=2/);
    const second = await page.locator('.card h3').allInnerTexts();
    assert.equal(new Set([...first, ...second]).size, first.length + second.length);
    await page.getByLabel('Name contains').fill('ACCOUNT-77');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.waitForURL(/q=ACCOUNT-77/);
    const found = await page.locator('.card h3').allInnerTexts();
    assert.ok(found.length > 0 && found.every((name) => name.includes('account-77')), found.join());
    await accessible(page, 'many, searched', javaScriptEnabled);
    await page.screenshot({ path: `${pictures}/many${javaScriptEnabled ? '' : '-without-js'}.png` });
    await page.getByLabel('Show').selectOption('down');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.waitForURL(/show=down/);
    assert.ok((await page.locator('.state .badge').allInnerTexts()).every((state) => state === 'Not up'));
    await page.getByRole('link', { name: 'All accounts' }).click();
    await page.waitForURL(many);
  });
}
await browser.close();
