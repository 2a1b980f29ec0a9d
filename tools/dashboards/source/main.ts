/** Writes the dashboards as JSON files. Usage: main FOLDER */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { costs } from './costs';
import { exporter } from './exporter';
import { numbers } from './numbers';

const [folder] = process.argv.slice(2);
if (!folder) {
  console.error('usage: main FOLDER');
  process.exit(2);
}
for (const dashboard of [numbers, costs, exporter]) {
  writeFileSync(join(folder, `${dashboard.uid}.json`), `${JSON.stringify(dashboard, null, 2)}\n`);
}
