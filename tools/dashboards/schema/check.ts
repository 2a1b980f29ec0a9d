/**
 * Checks dashboards against the types that Grafana publishes: no property that Grafana does not know,
 * no value that it does not take. Usage: check FILE…
 */
import { readFileSync } from 'node:fs';

import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';

/** What the Prometheus data source reads of its annotations, which the schema of all annotations leaves to it. */
const ofPrometheus = ['expr', 'step', 'titleFormat', 'textFormat', 'useValueForTime'];

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
  // Some names have two definitions, so each is written where it is used.
  expose: 'none',
  additionalProperties: false,
}).createSchema('Grafana') as unknown as { definitions: Record<string, Schema> };

/** Options have defaults, so none must be there. */
function optional(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(optional);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key, of]) => !(key === 'required' && Array.isArray(of)));
  return Object.fromEntries(entries.map(([key, of]) => [key, optional(of)]));
}

const ajv = new Ajv({ allErrors: true, strict: false });
ajv.addSchema(schema, 'strict');
ajv.addSchema(optional(schema) as object, 'optional');

const validator = (kind: 'strict' | 'optional', ...path: string[]): ValidateFunction | undefined => {
  const pointer = path.map((part) => `/properties/${part}`).join('');
  return ajv.getSchema(`${kind}#/definitions/Grafana${pointer}`);
};

interface Panel {
  id: number;
  title: string;
  type: string;
  options?: unknown;
  fieldConfig?: { defaults: { custom?: unknown } };
  targets?: unknown[];
  panels?: Panel[];
}

const problems: string[] = [];

function hold(where: string, validate: ValidateFunction | undefined, value: unknown): void {
  if (!validate) {
    problems.push(`${where}: Grafana has no schema for it`);
  } else if (!validate(value)) {
    const say = (error: ErrorObject) =>
      `${where}${error.instancePath}: ${error.message} ${JSON.stringify(error.params)}`;
    problems.push(...(validate.errors ?? []).map(say));
  }
}

function panel(file: string, one: Panel): void {
  const where = `${file}: panel ${one.id} "${one.title}"`;
  if (one.type !== 'row') {
    hold(`${where} options`, validator('optional', 'options', one.type), one.options);
    const custom = one.fieldConfig?.defaults.custom;
    if (custom) hold(`${where} custom`, validator('optional', 'custom', one.type), custom);
    for (const target of one.targets ?? []) hold(`${where} target`, validator('strict', 'target'), target);
  }
  one.panels?.forEach((inner) => panel(file, inner));
}

const files = process.argv.slice(2);
for (const file of files) {
  const dashboard = JSON.parse(readFileSync(file, 'utf8'));
  dashboard.panels.forEach((one: Panel) => panel(file, one));
  for (const annotation of dashboard.annotations.list) for (const key of ofPrometheus) delete annotation[key];
  hold(file, validator('strict', 'dashboard'), dashboard);
}
for (const problem of new Set(problems)) console.error(problem);
console.log(`${files.length} dashboards, ${problems.length} problems`);
process.exit(problems.length === 0 && files.length > 0 ? 0 : 1);
