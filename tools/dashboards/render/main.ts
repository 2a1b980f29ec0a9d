/**
 * Renders dashboards in Chromium, with data from a Prometheus server.
 * Usage: main PROMETHEUS FOLDER FILE… [--width=PIXELS]… [--range=UID=10m]… [--resolution=UID=1m]…
 * Writes a screenshot FOLDER/UID-WIDTH.png for each dashboard and width, and prints as JSON what each panel shows.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { chromium } from 'playwright-core';

import type { Dashboard } from './model';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    width: { type: 'string', multiple: true, default: ['1280', '1920'] },
    range: { type: 'string', multiple: true, default: [] },
    resolution: { type: 'string', multiple: true, default: [] },
  },
});
const [prometheus, folder, ...files] = positionals;
const byUid = (pairs: string[]) => Object.fromEntries(pairs.map((pair) => pair.split('=')));
const ranges = byUid(values.range);
const resolutions = byUid(values.resolution);

/** Higher than any dashboard, because the components do not draw what is outside the viewport. In pixels. */
const VIEWPORT_HEIGHT = 6000;
const TIMEOUT_MS = 300_000;

const assets = fileURLToPath(new URL('../../node_modules/@grafana/ui/dist', import.meta.url));
const pageBundle = fileURLToPath(new URL('page', import.meta.url));
const html = `<!doctype html><meta charset="utf-8"><style>${readFileSync(`${pageBundle}.css`, 'utf8')}
  body { margin: 0; background: #111217; color: #ccccdc; font-family: Inter, "DejaVu Sans", sans-serif; overflow-x: hidden }
  #root { padding: 16px; box-sizing: border-box } h1 { font-size: 20px; margin: 0 0 8px }
  .variables span { border: 1px solid #34343b; border-radius: 3px; padding: 4px 8px; margin-right: 8px; font-size: 12px }
  .grid { position: relative } .grid > div { position: absolute } .heading { font-size: 16px; font-weight: 500; padding-top: 4px }
  .no-data { display: flex; height: 100%; align-items: center; justify-content: center }
  .stand-in { font-size: 12px; opacity: 0.7; padding: 4px 8px }
</style><div id="root"></div>`;

setTimeout(() => {
  console.error(`rendering did not finish within ${TIMEOUT_MS / 1000} s`);
  process.exit(1);
}, TIMEOUT_MS).unref();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
const screenshots = [];
for (const file of files) {
  const dashboard: Dashboard = JSON.parse(readFileSync(file, 'utf8'));
  for (const width of values.width.map(Number)) {
    const page = await browser.newPage({ viewport: { width, height: VIEWPORT_HEIGHT } });
    const errors: string[] = [];
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('pageerror', (error) => errors.push(String(error)));
    // The page is served from Prometheus's origin, so that it may send queries to it.
    const address = `${prometheus}/render`;
    await page.route(address, (route) => route.fulfill({ contentType: 'text/html', body: html }));
    await page.route('**/public/**', (route) => {
      const file = join(assets, new URL(route.request().url()).pathname);
      return existsSync(file) ? route.fulfill({ path: file }) : route.fulfill({ status: 204 });
    });
    await page.goto(address);
    await page.addScriptTag({ path: `${pageBundle}.js` });
    const range = ranges[dashboard.uid];
    const resolution = resolutions[dashboard.uid] ?? '1h';
    const panels = await page.evaluate((request) => window.renderDashboard(request), {
      dashboard,
      prometheus,
      width,
      range,
      resolution,
    });
    await page.locator('#root').screenshot({ path: join(folder, `${dashboard.uid}-${width}.png`) });
    screenshots.push({ uid: dashboard.uid, width, panels, errors });
    await page.close();
  }
}
await browser.close();
console.log(JSON.stringify(screenshots));
