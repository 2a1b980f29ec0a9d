// Draws the status page down to the accounts. Usage: node picture.mjs FILE <JSON
// The JSON object has the field `url`, and `headings` that the page must have in this order, among others.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const { url, headings } = JSON.parse(readFileSync(0, 'utf8'));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, colorScheme: 'light' });
await page.goto(url);
const shown = await page.locator('h2:visible').allInnerTexts();
assert.deepEqual(shown.filter((heading) => headings.includes(heading)), headings);
// Without the recent changes and what follows them.
const { y } = await page.locator('#changes-heading').boundingBox();
const image = await page.screenshot({ path: process.argv[2], fullPage: true, clip: { x: 0, y: 0, width: 1440, height: y } });
assert.ok(image.length > 20_000, `${image.length} bytes`);
await browser.close();
