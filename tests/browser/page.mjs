// Tests the status page in Chromium: content, layout, accessibility, updates and search, with and without JavaScript.
// Usage: node page.mjs SCREENSHOTS <JSON
// SCREENSHOTS is the folder for screenshots. The JSON object has these fields:
// - few: the URL of an exporter with a few accounts, one of which is down; its numbers change all the time
// - many: the URL of an exporter with many accounts, named account-0, account-1, …
// - hostile: texts with markup, which the page of the first exporter must show unchanged
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

const screenshots = process.argv[2];
const { few, many, hostile } = JSON.parse(readFileSync(0, 'utf8'));
mkdirSync(screenshots, { recursive: true });

const TIMEOUT_MS = 240_000;
// Each visit prints a line, so the last line tells which one did not finish.
setTimeout(() => { console.error(`not finished after ${TIMEOUT_MS / 1000} s`); process.exit(1); }, TIMEOUT_MS).unref();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

// Opens `address` in a new browser context and runs `check`. Fails if the page logs anything, throws an error, opens a
// dialog or sends a request to another origin.
const visit = async (options, address, check) => {
  console.log(JSON.stringify(options), address);
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const violations = [];
  let offline = false;
  page.on('console', (message) => offline || violations.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => violations.push(`error: ${error}`));
  page.on('dialog', (dialog) => { violations.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(new URL(address).origin) && !url.startsWith('data:')) violations.push(`request: ${url}`);
  });
  await page.goto(address);
  await check(page, { context, setOffline: async (off) => { offline = off; await context.setOffline(off); } });
  assert.deepEqual(violations, [], JSON.stringify(options));
  await context.close();
};

// Runs axe on the page. `label` names the page in assertion messages. axe itself needs JavaScript, so pages without
// JavaScript are skipped; their content is the same.
const checkAccessibility = async (page, label, javaScriptEnabled = true) => {
  if (!javaScriptEnabled) return;
  await page.evaluate(axe.source);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
  assert.deepEqual(found, [], label);
  assert.ok(passes.length > 20, `${label}: only ${passes.length} accessibility rules applied`);
};

// Checks the content of the page of a few accounts.
const checkContent = async (page, label) => {
  const text = await page.locator('body').innerText();
  for (const expected of [
    'tryvox-exporter', 'Version 0.', 'up for', 'Accounts up', 'Suspended', 'Monthly fees', 'Numbers by country and status',
    'Watched numbers', 'those that are not active first', 'missing', 'suspended line', 'no known status',
    'Monthly fees by country and currency', 'Recent changes', 'Recent errors', 'Next poll', 'Last poll',
    'The API rejected the API key.', 'Write a valid key', 'is down', 'Data age', 'poll interval',
    ...hostile,
  ]) {
    assert.ok(text.includes(expected), `${label}: no ${JSON.stringify(expected)} in ${text}`);
  }
  for (const target of ['metrics', '-/healthy', '-/ready', '#docs']) {
    assert.equal(await page.locator(`header a[href="${target}"]`).count(), 1, target);
  }
  for (const landmark of ['header', 'main', 'footer', 'nav', '[role=search]']) {
    assert.ok(await page.locator(landmark).count() >= 1, landmark);
  }
  assert.ok(await page.locator('svg.chart rect').count() >= 2, 'the charts have no bars');
  // Watched numbers that are not active come first, and look different.
  const watched = page.locator('#watched tbody tr');
  assert.deepEqual(await watched.locator('.badge').allInnerTexts(), ['missing', 'suspended', '<b>bold</b>', 'active']);
  const colors = await watched.evaluateAll((rows) => rows.map((row) => getComputedStyle(row.cells[0]).backgroundColor));
  assert.equal(new Set(colors.slice(0, 3)).size, 1, colors.join());
  assert.notEqual(colors[0], colors[3]);
  assert.equal(await page.locator('h1').count(), 1);
  // Markup in data from the API or the configuration is not part of the page.
  assert.equal(await page.locator('script').count(), 1);
  assert.equal(await page.locator('img, iframe, object, marquee, b').count(), 0);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(overflow <= 0, `${label}: ${overflow} px wider than the viewport`);
};

for (const width of [390, 1440]) {
  for (const colorScheme of ['light', 'dark']) {
    for (const javaScriptEnabled of [true, false]) {
      const label = `${width}-${colorScheme}${javaScriptEnabled ? '' : '-without-js'}`;
      const options = { viewport: { width, height: width === 390 ? 844 : 900 }, colorScheme, javaScriptEnabled };
      await visit(options, few, async (page) => {
        await checkContent(page, label);
        await checkAccessibility(page, label, javaScriptEnabled);
        await page.locator('summary').click();
        await page.locator('details table').waitFor();
        await checkAccessibility(page, `${label}, table open`, javaScriptEnabled);
        await page.screenshot({ path: `${screenshots}/page-${label}.png`, fullPage: true });
      });
    }
  }
}

// The page updates itself without losing the user's input, focus and open sections, and says so if it is offline.
await visit({ viewport: { width: 1440, height: 900 } }, few, async (page, { setOffline }) => {
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to accounts');
  await page.locator('summary').click();
  await page.locator('#q').fill('acc');
  const summary = () => page.locator('#summary').innerText();
  const first = await summary();
  await page.waitForFunction((first) => document.querySelector('#summary').innerText !== first, first, { timeout: 60000 });
  assert.equal(await page.locator('#q').inputValue(), 'acc');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'q');
  assert.equal(await page.locator('details[open]').count(), 1);
  // A focused link keeps the focus although the update replaces its element.
  await page.locator('.notice a').focus();
  const link = await page.locator('.notice a').getAttribute('href');
  const second = await summary();
  await page.waitForFunction((second) => document.querySelector('#summary').innerText !== second, second, { timeout: 60000 });
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('href')), link);
  // A pressed link stays, so that the click is not lost if an update comes before the button is released.
  const pressed = await page.locator('.notice a').elementHandle();
  await pressed.hover();
  await page.mouse.down();
  await page.evaluate(() => document.querySelector('#summary').append('outdated'));
  const renderedAt = () => page.locator('#as-of').innerText();
  const third = await renderedAt();
  await page.waitForFunction((third) => document.querySelector('#as-of').innerText !== third, third, { timeout: 60000 });
  assert.ok(await pressed.evaluate((link) => link.isConnected));
  await page.mouse.up();
  await page.waitForURL(new URL(link, few).href);
  await page.goBack();

  await setOffline(true);
  await page.getByText('No response from the exporter since').waitFor({ timeout: 60000 });
  await page.screenshot({ path: `${screenshots}/page-offline.png` });
  await setOffline(false);
  await page.waitForFunction(() => document.querySelector('#connection').textContent === '', null, { timeout: 60000 });
});

// Without JavaScript, each reload shows the latest state.
await visit({ javaScriptEnabled: false }, few, async (page) => {
  const before = await page.locator('#as-of').innerText();
  do {
    await page.reload();
  } while (await page.locator('#as-of').innerText() === before);
});

// With many accounts, the page shows some of them, and the others by page number and by name.
for (const javaScriptEnabled of [true, false]) {
  await visit({ viewport: { width: 390, height: 844 }, javaScriptEnabled }, many, async (page) => {
    assert.ok(await page.locator('.card').count() <= 24);
    assert.ok((await page.content()).length < 100_000);
    assert.ok(await page.locator('#watched tbody tr').count() <= 20);
    assert.match(await page.locator('#watched').innerText(), /20 of 1,99\d watched numbers/);
    await checkAccessibility(page, 'many', javaScriptEnabled);
    const first = await page.locator('.card h3').allInnerTexts();
    await page.getByRole('link', { name: 'Next' }).click();
    await page.waitForURL(/page=2/);
    const second = await page.locator('.card h3').allInnerTexts();
    assert.equal(new Set([...first, ...second]).size, first.length + second.length);
    await page.getByLabel('Account name').fill('ACCOUNT-77');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.waitForURL(/q=ACCOUNT-77/);
    const found = await page.locator('.card h3').allInnerTexts();
    assert.ok(found.length > 0 && found.every((name) => name.includes('account-77')), found.join());
    await checkAccessibility(page, 'many, search results', javaScriptEnabled);
    await page.screenshot({ path: `${screenshots}/many${javaScriptEnabled ? '' : '-without-js'}.png` });
    await page.getByLabel('Status', { exact: true }).selectOption('down');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.waitForURL(/show=down/);
    assert.ok((await page.locator('.state .badge').allInnerTexts()).every((state) => state === 'Down'));
    await page.getByRole('link', { name: 'Show all accounts' }).click();
    await page.waitForURL(`${many}?show=all`);
  });
}
await browser.close();
