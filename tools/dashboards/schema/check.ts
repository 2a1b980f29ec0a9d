/**
 * Validates dashboards against the types that Grafana publishes: unknown properties and invalid values are errors.
 * Usage: check FILE…
 * Prints each error, and exits with status 1 if there is any.
 */
import { readFileSync } from 'node:fs';

import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';

/** Fields of annotations that belong to the Prometheus data source and are not in Grafana's annotation type. */
const dataSourceFields = ['expr', 'step', 'titleFormat', 'textFormat', 'useValueForTime'];

interface Schema {
  required?: string[];
  properties?: Record<string, Schema>;
  [key: string]: unknown;
}

const schema = createGenerator({
  path: 'schema/types.ts',
  tsconfig: 'tsconfig.json',
  type: 'Grafana',
  skipTypeCheck: true,
  // Inlines every type, because some names have two definitions.
  expose: 'none',
  additionalProperties: false,
}).createSchema('Grafana') as unknown as { definitions: Record<string, Schema> };

/** Makes every property of a schema optional. Panel options have defaults, so none of them is required. */
function makeOptional(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(makeOptional);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key, entry]) => !(key === 'required' && Array.isArray(entry)));
  return Object.fromEntries(entries.map(([key, entry]) => [key, makeOptional(entry)]));
}

const ajv = new Ajv({ allErrors: true, strict: false });
ajv.addSchema(schema, 'strict');
ajv.addSchema(makeOptional(schema) as object, 'optional');

/** Returns the validator for a type at a path in `Grafana`, with required properties (`strict`) or without. */
const validator = (kind: 'strict' | 'optional', ...path: string[]): ValidateFunction | undefined => {
  const pointer = path.map((part) => `/properties/${part}`).join('');
  return ajv.getSchema(`${kind}#/definitions/Grafana${pointer}`);
};

interface Panel {
  id: number;
  title: string;
  type: string;
  options?: unknown;
  fieldConfig?: {
    defaults: { custom?: unknown; links?: unknown[] };
    overrides: { properties: { id: string; value: unknown }[] }[];
  };
  targets?: unknown[];
  panels?: Panel[];
}

const errors: string[] = [];

/** Validates a value and collects the errors. */
function check(location: string, validate: ValidateFunction | undefined, value: unknown): void {
  if (!validate) {
    errors.push(`${location}: Grafana has no schema for this panel type`);
  } else if (!validate(value)) {
    const describe = (error: ErrorObject) =>
      `${location}${error.instancePath}: ${error.message} ${JSON.stringify(error.params)}`;
    errors.push(...(validate.errors ?? []).map(describe));
  }
}

function checkPanel(file: string, panel: Panel): void {
  const location = `${file}: panel ${panel.id} "${panel.title}"`;
  if (panel.type !== 'row') {
    check(`${location} options`, validator('optional', 'options', panel.type), panel.options);
    const custom = panel.fieldConfig?.defaults.custom;
    if (custom) check(`${location} custom`, validator('optional', 'custom', panel.type), custom);
    const overrides = panel.fieldConfig?.overrides.flatMap(({ properties }) => properties) ?? [];
    const columnLinks = overrides.flatMap(({ id, value }) => (id === 'links' ? (value as unknown[]) : []));
    for (const link of [...(panel.fieldConfig?.defaults.links ?? []), ...columnLinks])
      check(`${location} data link`, validator('strict', 'dataLink'), link);
    for (const target of panel.targets ?? []) check(`${location} target`, validator('strict', 'target'), target);
  }
  panel.panels?.forEach((inner) => checkPanel(file, inner));
}

const files = process.argv.slice(2);
for (const file of files) {
  const dashboard = JSON.parse(readFileSync(file, 'utf8'));
  dashboard.panels.forEach((panel: Panel) => checkPanel(file, panel));
  for (const annotation of dashboard.annotations.list) for (const key of dataSourceFields) delete annotation[key];
  check(file, validator('strict', 'dashboard'), dashboard);
}
for (const error of new Set(errors)) console.error(error);
console.log(`${files.length} dashboards, ${errors.length} errors`);
process.exit(errors.length === 0 && files.length > 0 ? 0 : 1);
