/** Writes the dashboards into the folder that is named on the command line. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { page as costs } from './costs';
import { page as exporter } from './exporter';
import { page as numbers } from './numbers';

const [folder] = process.argv.slice(2);
if (!folder) {
  console.error('usage: main FOLDER');
  process.exit(2);
}
for (const dashboard of [numbers, costs, exporter]) {
  writeFileSync(join(folder, `${dashboard.uid}.json`), `${JSON.stringify(dashboard, null, 2)}\n`);
}
