// Tests the status page in Chromium behind a proxy at a path: every link, form and update stays below that path.
// Usage: node proxy.mjs <JSON
// The JSON object has these fields:
// - pages: URLs that lead to the status page of an exporter of several pages of accounts, one of which is down
// - bare: such a URL that has no slash at its end and is not redirected
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const { pages, bare } = JSON.parse(readFileSync(0, 'utf8'));

const TIMEOUT_MS = 280_000;
// Like the limit of every wait in the other tests: far longer than any step takes, on a busy machine, too.
const STEP_TIMEOUT_MS = 100_000;
// Each visit prints a line, so the last line tells which one did not finish.
setTimeout(() => { console.error(`not finished after ${TIMEOUT_MS / 1000} s`); process.exit(1); }, TIMEOUT_MS).unref();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

// Uses the links and the form of the page, and fails if one of them leads elsewhere than below the address of the page.
// The links to the endpoints are followed only if `followsLinks`.
const usePage = async (address, javaScriptEnabled, followsLinks) => {
  console.log(address, javaScriptEnabled ? '' : 'without JavaScript');
  const context = await browser.newContext({ javaScriptEnabled });
  context.setDefaultTimeout(STEP_TIMEOUT_MS);
  const page = await context.newPage();
  const violations = [];
  page.on('console', (message) => violations.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => violations.push(`error: ${error}`));
  const response = await page.goto(address);
  const base = response.url().replace(/\/?$/, '/');
  assert.ok(base.length > new URL('/', base).href.length, `${base} is not below a path`);
  page.on('response', (response) => {
    const { origin, pathname } = new URL(response.url());
    const isBelow = `${origin}${pathname}/`.startsWith(base) || response.url().startsWith('data:');
    if (!isBelow || response.status() >= 400) violations.push(`${response.status()}: ${response.url()}`);
  });

  for (const name of followsLinks ? ['Metrics', 'Health', 'Readiness'] : []) {
    const link = page.locator('header').getByRole('link', { name, exact: true });
    const target = await link.evaluate((anchor) => anchor.href);
    assert.ok(target.startsWith(base), `${name} leads to ${target}`);
    assert.equal((await page.request.get(target, { maxRedirects: 0 })).status(), 200, target);
  }
  const names = () => page.locator('.card h3').allInnerTexts();
  const first = await names();
  await page.getByRole('link', { name: 'Next' }).click();
  await page.waitForURL(/page=2/);
  assert.notDeepEqual(await names(), first);
  await page.getByLabel('Account name').fill('account-13');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.waitForURL(/q=account-13/);
  assert.deepEqual(await names(), ['account-13']);
  await page.getByRole('link', { name: 'Show all accounts' }).click();
  await page.waitForURL(/\?show=all$/);
  assert.deepEqual(await names(), first);
  await page.getByRole('link', { name: 'Show account', exact: true }).click();
  await page.waitForURL(/show=down/);
  assert.deepEqual(await names(), ['account-7']);
  if (javaScriptEnabled) {
    const renderedAt = () => page.locator('#as-of').innerText();
    const before = await renderedAt();
    await page.waitForFunction((before) => document.querySelector('#as-of').innerText !== before, before);
    assert.equal(await page.locator('#connection').innerText(), '');
    assert.deepEqual(await names(), ['account-7']);
  }
  assert.deepEqual(violations, [], address);
  await context.close();
};

for (const address of pages) {
  for (const javaScriptEnabled of [true, false]) {
    await usePage(address, javaScriptEnabled, true);
  }
}
// Without JavaScript, the links to the endpoints need a slash at the end of the address.
await usePage(bare, true, true);
await usePage(bare, false, false);
await browser.close();
