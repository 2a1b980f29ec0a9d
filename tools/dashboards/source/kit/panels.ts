/** The kinds of panels that the dashboards use, each with what all of a kind have in common. */
import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  AxisPlacement,
  BarGaugeDisplayMode,
  BarGaugeValueMode,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  FrameGeometrySourceBuilder,
  FrameGeometrySourceMode,
  GraphDrawStyle,
  GraphThresholdsStyleConfigBuilder,
  GraphTresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  MapLayerOptionsBuilder,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TableSortByFieldStateBuilder,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizOrientation,
  VizTextDisplayOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  type DataTransformerConfig,
  type DynamicConfigValue,
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  type Panel,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { PanelBuilder as BarGauge } from '@grafana/grafana-foundation-sdk/bargauge';
import {
  ControlsOptionsBuilder,
  MapViewConfigBuilder,
  PanelBuilder as Geomap,
} from '@grafana/grafana-foundation-sdk/geomap';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as StateTimeline } from '@grafana/grafana-foundation-sdk/statetimeline';
import { PanelBuilder as Table } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries';

import { prometheus } from './variables';

/** What every panel says of itself. */
export interface Basics {
  title: string;
  description: string;
  /** Columns of 24, and rows of 30 pixels. */
  size: [width: number, height: number];
  /** One of Grafana's units. */
  unit: string;
  decimals?: number;
  /** What is shown where there is nothing to show. */
  noValue?: string;
  /** The colour from each value on; the first is below all others. */
  thresholds?: Steps;
  mappings?: ValueMapping[];
  overrides?: Override[];
  /** Another time range than the dashboard's, up to now. */
  last?: string;
  /** The shortest step. */
  interval?: string;
}

export type Steps = [colour: string, ...rest: [value: number, colour: string][]];

/** A query and how its series are called. */
export interface Query {
  expr: string;
  legend?: string;
}

/** Other settings for the field or series of a name. */
export interface Override {
  name: string;
  properties: Record<string, unknown>;
}

const noListing = 'no data: no listing yet, or a stale one';

/** Colours that mean a status, wherever it is shown. */
export const statusColours: Override[] = (
  [
    ['active', 'green'],
    ['pending', 'blue'],
    ['suspended', 'red'],
  ] as const
).map(([name, colour]) => fixed(name, colour));

/** One name in one colour. */
export function fixed(name: string, colour: string): Override {
  return { name, properties: { color: { mode: 'fixed', fixedColor: colour } } };
}

/** Words in place of values. */
export const words = (options: Record<string, { text: string; color?: string }>): ValueMapping => ({
  type: MappingType.ValueToText,
  options,
});

const steps = ([below, ...rest]: Steps): Builder<never> =>
  new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps([
      { value: null, color: below },
      ...rest.map(([value, color]) => ({ value, color })),
    ] as Threshold[]) as never;

const properties = (settings: Record<string, unknown>): DynamicConfigValue[] =>
  Object.entries(settings).map(([id, value]) => ({ id, value }));

/** What the builders of all kinds have in common. */
interface Any extends Builder<Panel> {
  title(title: string): this;
  description(description: string): this;
  datasource(datasource: { type?: string; uid?: string }): this;
  span(columns: number): this;
  height(rows: number): this;
  unit(unit: string): this;
  decimals(decimals: number): this;
  noValue(text: string): this;
  thresholds(thresholds: Builder<never>): this;
  mappings(mappings: ValueMapping[]): this;
  overrideByName(name: string, properties: DynamicConfigValue[]): this;
  timeFrom(range: string): this;
  interval(step: string): this;
}

function described<P extends Any>(panel: P, basics: Basics): P {
  const [width, height] = basics.size;
  panel
    .title(basics.title)
    .description(basics.description)
    .datasource(prometheus)
    .span(width)
    .height(height)
    .unit(basics.unit)
    .noValue(basics.noValue ?? noListing)
    .thresholds(steps(basics.thresholds ?? ['green']));
  if (basics.decimals !== undefined) panel.decimals(basics.decimals);
  if (basics.mappings) panel.mappings(basics.mappings);
  if (basics.last) panel.timeFrom(basics.last);
  if (basics.interval) panel.interval(basics.interval);
  for (const override of basics.overrides ?? []) panel.overrideByName(override.name, properties(override.properties));
  return panel;
}

/** The queries of a panel, named A, B, … in their order. */
const targets = (queries: Query[], make: (target: DataqueryBuilder) => DataqueryBuilder): Builder<never>[] =>
  queries.map(
    ({ expr, legend }, index) =>
      make(
        new DataqueryBuilder()
          .datasource(prometheus)
          .refId(String.fromCharCode(65 + index))
          .expr(expr)
          .legendFormat(legend ?? '__auto'),
      ) as never,
  );

const overTime = (queries: Query[]) => targets(queries, (target) => target.range());
const now = (queries: Query[]) => targets(queries, (target) => target.instant());
const rows = (queries: Query[]) => targets(queries, (target) => target.instant().format(PromQueryFormat.Table));

const lastValue = () => new ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(false);

/** A big number, in the colour of its threshold where it has any. */
export const stat = (basics: Basics, query: Query): Builder<Panel> =>
  described(new Stat(), basics)
    .targets(now([query]))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .colorMode(basics.thresholds ? BigValueColorMode.Background : BigValueColorMode.None)
    .graphMode(BigValueGraphMode.None)
    .textMode(BigValueTextMode.Value)
    .reduceOptions(lastValue());

/** A bar for each series, the longest first where the query sorts them. */
export const bars = (basics: Basics, ...queries: Query[]): Builder<Panel> =>
  described(new BarGauge(), basics)
    .targets(now(queries))
    .min(0)
    .colorScheme(
      basics.thresholds
        ? new FieldColorBuilder().mode(FieldColorModeId.Thresholds)
        : new FieldColorBuilder().mode(FieldColorModeId.Fixed).fixedColor('blue'),
    )
    .orientation(VizOrientation.Horizontal)
    .displayMode(BarGaugeDisplayMode.Basic)
    .valueMode(BarGaugeValueMode.Text)
    .showUnfilled(true)
    .minVizWidth(8)
    .minVizHeight(16)
    .text(new VizTextDisplayOptionsBuilder().valueSize(15))
    .reduceOptions(lastValue());

export interface Lines {
  /** Filled, one upon the other: only where the sum means something. */
  stacked?: boolean;
  /** A bar for each step. */
  bars?: boolean;
  /** Thresholds as lines. */
  limits?: boolean;
  /** What the scale reaches at least. */
  upTo?: number;
}

/** Series over time. */
export function lines(basics: Basics, { stacked, bars, limits, upTo }: Lines, ...queries: Query[]): Builder<Panel> {
  const panel = described(new TimeSeries(), basics)
    .targets(overTime(queries))
    .axisSoftMin(0)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassicByName))
    .drawStyle(bars ? GraphDrawStyle.Bars : GraphDrawStyle.Line)
    .fillOpacity(bars ? 80 : stacked ? 30 : 0)
    .lineWidth(1)
    .showPoints(VisibilityMode.Never)
    .axisPlacement(AxisPlacement.Auto)
    .stacking(new StackingConfigBuilder().group('A').mode(stacked ? StackingMode.Normal : StackingMode.None))
    .thresholdsStyle(
      new GraphThresholdsStyleConfigBuilder().mode(
        limits ? GraphTresholdsStyleMode.Dashed : GraphTresholdsStyleMode.Off,
      ),
    )
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .calcs(['lastNotNull']),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
  if (upTo !== undefined) panel.axisSoftMax(upTo);
  return panel;
}

/** States over time, a line for each series. */
export const states = (basics: Basics, ...queries: Query[]): Builder<Panel> =>
  described(new StateTimeline(), basics)
    .targets(overTime(queries))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .fillOpacity(80)
    .lineWidth(0)
    .rowHeight(0.9)
    .mergeValues(true)
    .showValue(VisibilityMode.Never)
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .calcs([]),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Single).sort(SortOrder.None));

/** A column of a table: the field of the query's answer, its heading, and how it is shown. */
export interface Column {
  field: string;
  heading: string;
  settings?: Record<string, unknown>;
}

/**
 * The queries' answers side by side, a row for each set of labels that they share. Texts are shown as
 * they are: with any other unit Grafana takes `+4930…` for a number and drops the sign.
 */
export function table(
  basics: Omit<Basics, 'unit'>,
  columns: Column[],
  sortBy: { column: string; descending: boolean },
  ...queries: Query[]
): Builder<Panel> {
  const renamed = Object.fromEntries(columns.map(({ field, heading }) => [field, heading]));
  const order = Object.fromEntries(columns.map(({ field }, index) => [field, index]));
  const shape: DataTransformerConfig[] = [
    { id: 'merge', options: {} },
    { id: 'filterFieldsByName', options: { include: { names: columns.map(({ field }) => field) } } },
    { id: 'organize', options: { excludeByName: {}, indexByName: order, renameByName: renamed } },
  ];
  // A cell without a value is not a panel without data.
  const empty: Column['settings'] = { noValue: '–' };
  const panel = described(new Table(), { ...basics, unit: 'string' })
    .targets(rows(queries))
    .transformations(shape)
    .showHeader(true)
    .sortBy([new TableSortByFieldStateBuilder().displayName(sortBy.column).desc(sortBy.descending)]);
  for (const { heading, settings } of columns) panel.overrideByName(heading, properties({ ...empty, ...settings }));
  return panel;
}

/** A circle on each country; the query has one series for each `country`. */
export const map = (basics: Basics, query: Query): Builder<Panel> =>
  described(new Geomap(), basics)
    .targets(rows([query]))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .view(new MapViewConfigBuilder().id('zero').lat(20).lon(0).zoom(1).allLayers(true))
    .controls(new ControlsOptionsBuilder().showZoom(true).mouseWheelZoom(false).showAttribution(true))
    .basemap(new MapLayerOptionsBuilder().type('default').name('Map'))
    .layers([
      new MapLayerOptionsBuilder()
        .type('markers')
        .name('Numbers')
        .tooltip(true)
        .location(
          new FrameGeometrySourceBuilder()
            .mode(FrameGeometrySourceMode.Lookup)
            .lookup('country')
            .gazetteer('public/gazetteer/countries.json'),
        )
        .config({
          showLegend: false,
          style: {
            size: { field: 'Value', fixed: 5, min: 5, max: 25 },
            color: { field: 'Value', fixed: 'dark-green' },
            opacity: 0.6,
            symbol: { mode: 'fixed', fixed: 'img/icons/marker/circle.svg' },
          },
        }),
    ]);
