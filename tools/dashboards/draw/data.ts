/** What the panels of a dashboard show: its variables filled in, its queries asked of a Prometheus. */
import {
  type DataFrame,
  type Field,
  FieldType,
  type FieldConfigSource,
  type Labels,
  dateMath,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import type { DataTransformerConfig } from '@grafana/schema';
import { firstValueFrom } from 'rxjs';

export interface Target {
  refId: string;
  expr: string;
  instant: boolean;
  format?: string;
  legendFormat: string;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  options: Record<string, any>;
  fieldConfig: FieldConfigSource;
  targets: Target[];
  transformations?: DataTransformerConfig[];
  timeFrom?: string;
  interval?: string;
  collapsed?: boolean;
  repeat?: string;
  panels?: Panel[];
}

export interface Dashboard {
  uid: string;
  title: string;
  time: { from: string };
  panels: Panel[];
  templating: { list: { type: string; name: string; query: string; allValue: string; label: string }[] };
}

/** What is to be drawn. */
export interface Input {
  dashboard: Dashboard;
  prometheus: string;
  /** The width of the window, in pixels. */
  width: number;
  /** How far back the picture goes, where that is not the dashboard's own range: `10m`. */
  range?: string;
  /** How far apart the samples are. */
  resolution: string;
}

/** A panel at its place in the picture, with what its variables stand for. */
export interface Placed {
  panel: Panel;
  title: string;
  values: Record<string, string>;
}

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** The seconds of a time like `90s`. */
export const seconds = (time: string): number => Number(time.slice(0, -1)) * SECONDS[time.slice(-1)];

export const fill = (text: string, values: Record<string, string>): string =>
  text.replace(/\$\{([\w:]+)\}|\$(\w+)/g, (whole, braced, bare) => values[braced ?? bare] ?? whole);

export class Prometheus {
  constructor(private readonly url: string) {}

  private async ask(path: string, parameters: Record<string, string>): Promise<any> {
    const answer = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const body = await answer.json();
    if (body.status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${body.error}`);
    return body.data;
  }

  labelValues(label: string, match: string): Promise<string[]> {
    return this.ask(`label/${label}/values`, { 'match[]': match });
  }

  instant(query: string, time: number): Promise<{ result: { metric: Labels; value: [number, string] }[] }> {
    return this.ask('query', { query, time: String(time) });
  }

  range(
    query: string,
    start: number,
    end: number,
    step: number,
  ): Promise<{ result: { metric: Labels; values: [number, string][] }[] }> {
    return this.ask('query_range', { query, start: String(start), end: String(end), step: String(step) });
  }
}

const { mergeTransformer, filterFieldsByNameTransformer, organizeFieldsTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() =>
  [mergeTransformer, filterFieldsByNameTransformer, organizeFieldsTransformer].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation: () => Promise.resolve(transformation),
    editor: () => null,
    imageDark: '',
    imageLight: '',
  })),
);

/** What each variable offers, chosen all. */
export async function offered(dashboard: Dashboard, prometheus: Prometheus): Promise<Record<string, string[]>> {
  const values: Record<string, string> = {};
  const offers: Record<string, string[]> = {};
  for (const variable of dashboard.templating.list.filter(({ type }) => type === 'query')) {
    const [, selector, label] = /^label_values\((.*), (\w+)\)$/.exec(variable.query) ?? [];
    offers[variable.name] = await prometheus.labelValues(label, fill(selector, values));
    values[variable.name] = variable.allValue;
  }
  return offers;
}

/** The panels as Grafana lays them out: closed rows opened, repeated ones once for each value. */
export function layOut(dashboard: Dashboard, offers: Record<string, string[]>): Placed[] {
  const all = Object.fromEntries(dashboard.templating.list.map(({ name, allValue }) => [name, allValue]));
  const sections: { row: Panel; panels: Panel[] }[] = [];
  for (const panel of dashboard.panels) {
    if (panel.type === 'row') sections.push({ row: panel, panels: [...(panel.panels ?? [])] });
    else sections.at(-1)?.panels.push(panel);
  }
  const placed: Placed[] = [];
  let down = 0;
  for (const { row, panels } of sections) {
    const height = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h)) - row.gridPos.y;
    const each = row.repeat ? offers[row.repeat].map((value) => ({ [row.repeat!]: value })) : [{}];
    each.forEach((one, index) => {
      const values = { ...all, ...one };
      if (index > 0) down += height;
      for (const panel of [row, ...panels]) {
        const gridPos = { ...panel.gridPos, y: panel.gridPos.y + down };
        placed.push({ panel: { ...panel, gridPos }, title: fill(panel.title, values), values });
      }
    });
  }
  return placed;
}

const number = (text: string): number => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

/** The name of a series by its legend, as Grafana's Prometheus data source writes it. */
const legend = (format: string, metric: Labels): string =>
  format === '__auto'
    ? `{${Object.entries(metric)
        .map(([label, value]) => `${label}="${value}"`)
        .join(', ')}}`
    : format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');

const field = (
  name: string,
  type: FieldType,
  values: unknown[],
  labels?: Labels,
  displayNameFromDS?: string,
): Field => ({
  name,
  type,
  values,
  labels,
  config: displayNameFromDS === undefined ? {} : { displayNameFromDS },
});

/** How many seconds up to now a panel shows. */
const span = (panel: Panel, { range, dashboard }: Input): number =>
  seconds(panel.timeFrom ?? range ?? dashboard.time.from.replace('now-', ''));

/** A panel's shortest step, which is none where the picture has not ten of them. */
const shortest = ({ interval }: Panel, range: number): number =>
  interval && seconds(interval) * 10 <= range ? seconds(interval) : 0;

/** The answers to a panel's queries, in the shape that Grafana's Prometheus data source gives them. */
export async function frames(
  panel: Panel,
  values: Record<string, string>,
  input: Input,
  end: number,
): Promise<DataFrame[]> {
  const prometheus = new Prometheus(input.prometheus);
  const range = span(panel, input);
  const resolution = seconds(input.resolution);
  // A point for every second pixel of half a window, but not more than there are samples.
  const step = Math.max(Math.ceil(range / (input.width / 4)), shortest(panel, range), resolution);
  const filled = (expr: string) =>
    fill(expr, {
      ...values,
      __range: `${range}s`,
      __rate_interval: `${Math.max(step + resolution, 4 * resolution)}s`,
      '__to:date:seconds': String(end),
    });
  const answers = panel.targets.map(async (target): Promise<DataFrame[]> => {
    const { refId, expr, instant, format, legendFormat } = target;
    if (!instant) {
      const { result } = await prometheus.range(filled(expr), Math.floor((end - range) / step) * step, end, step);
      return result.map(({ metric, values }) => ({
        refId,
        length: values.length,
        fields: [
          // The step tells how wide a bar is where most steps have none.
          {
            ...field(
              'Time',
              FieldType.time,
              values.map(([time]) => time * 1000),
            ),
            config: { interval: step * 1000 },
          },
          field(
            'Value',
            FieldType.number,
            values.map(([, value]) => number(value)),
            metric,
            legend(legendFormat, metric),
          ),
        ],
      }));
    }
    const { result } = await prometheus.instant(filled(expr), end);
    if (format !== 'table') {
      return result.map(({ metric, value }) => ({
        refId,
        length: 1,
        fields: [
          field('Time', FieldType.time, [value[0] * 1000]),
          field('Value', FieldType.number, [number(value[1])], metric, legend(legendFormat, metric)),
        ],
      }));
    }
    const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
    return [
      {
        refId,
        length: result.length,
        fields: [
          field(
            'Time',
            FieldType.time,
            result.map(({ value }) => value[0] * 1000),
          ),
          ...labels.map((label) =>
            field(
              label,
              FieldType.string,
              result.map(({ metric }) => metric[label] ?? ''),
            ),
          ),
          field(
            panel.targets.length > 1 ? `Value #${refId}` : 'Value',
            FieldType.number,
            result.map(({ value }) => number(value[1])),
          ),
        ],
      },
    ];
  });
  const answered = (await Promise.all(answers)).flat();
  return firstValueFrom(transformDataFrame((panel.transformations ?? []) as never, answered));
}

/** The range that a panel shows, as Grafana's components take it. */
export function timeRange(panel: Panel, input: Input, end: number) {
  const range = span(panel, input);
  const [from, to] = [dateMath.parse(new Date((end - range) * 1000))!, dateMath.parse(new Date(end * 1000))!];
  return { from, to, raw: { from, to } };
}
