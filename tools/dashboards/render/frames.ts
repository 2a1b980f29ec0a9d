/** The data of a panel: its queries, sent to Prometheus, and the results as Grafana's data frames. */
import {
  type DataFrame,
  type Field,
  FieldType,
  type Labels,
  dateMath,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

import { interpolate } from './layout';
import { type Panel, type RenderRequest, type Target, parseSeconds } from './model';
import { Prometheus } from './prometheus';

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

/** Parses a sample value of Prometheus. */
const parseValue = (text: string): number => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

/** Returns the display name of a series, as Grafana's Prometheus data source does. */
const seriesName = (format: string, metric: Labels): string =>
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

/** The length of a panel's time range, in seconds. */
const rangeSeconds = (panel: Panel, { range, dashboard }: RenderRequest): number =>
  parseSeconds(panel.timeFrom ?? range ?? dashboard.time.from.replace('now-', ''));

/** A panel's minimum step, in seconds; 0 if the range is shorter than ten steps, so that short ranges still have points. */
const minStep = ({ interval }: Panel, range: number): number =>
  interval && parseSeconds(interval) * 10 <= range ? parseSeconds(interval) : 0;

/** A frame for each series of a range query. `start`, `end` and `step` are in seconds. */
async function timeSeriesFrames(
  prometheus: Prometheus,
  { refId, expr, legendFormat }: Target,
  start: number,
  end: number,
  step: number,
): Promise<DataFrame[]> {
  const { result } = await prometheus.queryRange(expr, start, end, step);
  return result.map(({ metric, values }) => {
    const times = values.map(([time]) => time * 1000);
    const numbers = values.map(([, value]) => parseValue(value));
    return {
      refId,
      length: values.length,
      fields: [
        // Without the interval, bars of series with gaps have the wrong width.
        { ...field('Time', FieldType.time, times), config: { interval: step * 1000 } },
        field('Value', FieldType.number, numbers, metric, seriesName(legendFormat, metric)),
      ],
    };
  });
}

/** A frame for each series of an instant query. */
async function instantFrames(
  prometheus: Prometheus,
  { refId, expr, legendFormat }: Target,
  time: number,
): Promise<DataFrame[]> {
  const { result } = await prometheus.query(expr, time);
  return result.map(({ metric, value }) => ({
    refId,
    length: 1,
    fields: [
      field('Time', FieldType.time, [value[0] * 1000]),
      field('Value', FieldType.number, [parseValue(value[1])], metric, seriesName(legendFormat, metric)),
    ],
  }));
}

/** One frame with a row for each series of an instant query, and a column for each label. */
async function tableFrame(
  prometheus: Prometheus,
  { refId, expr }: Target,
  valueName: string,
  time: number,
): Promise<DataFrame> {
  const { result } = await prometheus.query(expr, time);
  const times = result.map(({ value }) => value[0] * 1000);
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const labelFields = labels.map((label) => {
    const values = result.map(({ metric }) => metric[label] ?? '');
    return field(label, FieldType.string, values);
  });
  const values = result.map(({ value }) => parseValue(value[1]));
  return {
    refId,
    length: result.length,
    fields: [field('Time', FieldType.time, times), ...labelFields, field(valueName, FieldType.number, values)],
  };
}

/**
 * Runs a panel's queries and transformations. The frames have the shape that Grafana's Prometheus data source returns.
 * `end` is the Unix timestamp at which the time range ends.
 */
export async function queryFrames(
  panel: Panel,
  values: Record<string, string>,
  request: RenderRequest,
  end: number,
): Promise<DataFrame[]> {
  const prometheus = new Prometheus(request.prometheus);
  const range = rangeSeconds(panel, request);
  const resolution = parseSeconds(request.resolution);
  // One point per two pixels of a panel that is half as wide as the window, but at most one per sample.
  const step = Math.max(Math.ceil(range / (request.width / 4)), minStep(panel, range), resolution);
  const start = Math.floor((end - range) / step) * step;
  const builtInValues = {
    ...values,
    __range: `${range}s`,
    __rate_interval: `${Math.max(step + resolution, 4 * resolution)}s`,
    '__to:date:seconds': String(end),
  };
  const results = panel.targets.map(async (uninterpolated): Promise<DataFrame[]> => {
    const target = { ...uninterpolated, expr: interpolate(uninterpolated.expr, builtInValues) };
    if (!target.instant) return timeSeriesFrames(prometheus, target, start, end, step);
    if (target.format !== 'table') return instantFrames(prometheus, target, end);
    const valueName = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
    return [await tableFrame(prometheus, target, valueName, end)];
  });
  const frames = (await Promise.all(results)).flat();
  return firstValueFrom(transformDataFrame((panel.transformations ?? []) as never, frames));
}

/** Returns the time range of a panel, as Grafana's components expect it. */
export function timeRange(panel: Panel, request: RenderRequest, end: number) {
  const range = rangeSeconds(panel, request);
  const [from, to] = [dateMath.parse(new Date((end - range) * 1000))!, dateMath.parse(new Date(end * 1000))!];
  return { from, to, raw: { from, to } };
}
