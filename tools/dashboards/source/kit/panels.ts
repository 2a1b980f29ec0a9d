/** Builders for the panel types that the dashboards use, with the settings that all panels of a type share. */
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
  type DashboardLink,
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
import { PanelBuilder as BarGaugeBuilder } from '@grafana/grafana-foundation-sdk/bargauge';
import {
  ControlsOptionsBuilder,
  MapViewConfigBuilder,
  PanelBuilder as GeomapBuilder,
} from '@grafana/grafana-foundation-sdk/geomap';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as StateTimelineBuilder } from '@grafana/grafana-foundation-sdk/statetimeline';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TimeSeriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

import { columnLinks, seriesLinks } from './links';
import { prometheusDataSource } from './variables';

/** Settings that every panel type has. */
export interface PanelSettings {
  title: string;
  description: string;
  /** In grid columns (the dashboard has 24) and grid rows (of 30 pixels). */
  size: [width: number, height: number];
  /** The id of a Grafana unit. */
  unit: string;
  decimals?: number;
  /** The text that is shown if the queries return no data. */
  noValue?: string;
  thresholds?: ThresholdSteps;
  mappings?: ValueMapping[];
  overrides?: Override[];
  /** The time range up to now, if it differs from the dashboard's: `14d`. */
  range?: string;
  /** The minimum step of range queries: `1d`. */
  interval?: string;
}

/** The color below all thresholds, followed by each threshold and the color from it on. */
export type ThresholdSteps = [base: string, ...rest: [value: number, color: string][]];

/** A query. `legend` is the template for the names of its series; without it, Grafana chooses them. */
export interface Query {
  expr: string;
  legend?: string;
}

/** Settings for the field or series with this name. */
export interface Override {
  name: string;
  properties: Record<string, unknown>;
}

const noListingText = 'No data: no valid listing yet, or it is stale';
/** For panels whose metrics exist from the start of the exporter. */
export const noAccountText = 'No data: no account matches the variables';

/** The text of an empty panel whose metric is optional. */
export const requires = (option: string): string => `No data: requires ${option}`;

/** For panels of metrics of the exporter's process. */
export const noTargetText = 'No data: no target matches Job and Instance';

export const noOwnersText = requires('owners in the configuration file');

/** A note for panels whose metric has no `country` label. */
export const ignoresCountry = 'Ignores the Country variable.';

export const integerUnit = { unit: 'locale', decimals: 0 };

/** The same color for a number's status on every panel. */
export const statusColors: Override[] = (
  [
    ['active', 'green'],
    ['pending', 'blue'],
    ['suspended', 'red'],
  ] as const
).map(([name, color]) => fixedColor(name, color));

/** Gives the series with this name a color. */
export function fixedColor(name: string, color: string): Override {
  return { name, properties: { color: { mode: 'fixed', fixedColor: color } } };
}

/** Shows texts instead of values. */
export const valueTexts = (options: Record<string, { text: string; color?: string }>): ValueMapping => ({
  type: MappingType.ValueToText,
  options,
});

const thresholds = ([base, ...rest]: ThresholdSteps): Builder<never> =>
  new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps([{ value: null, color: base }, ...rest.map(([value, color]) => ({ value, color }))] as Threshold[]) as never;

const properties = (settings: Record<string, unknown>): DynamicConfigValue[] =>
  Object.entries(settings).map(([id, value]) => ({ id, value }));

/** The methods that the SDK's builders of all panel types share. */
interface CommonBuilder extends Builder<Panel> {
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
  dataLinks(links: Builder<DashboardLink>[]): this;
  timeFrom(range: string): this;
  interval(step: string): this;
}

/** Applies the settings that all panel types share to a builder, and the data links of the series of its queries. */
function withSettings<P extends CommonBuilder>(panel: P, settings: PanelSettings, queries: Query[] = []): P {
  const [width, height] = settings.size;
  panel
    .title(settings.title)
    .description(settings.description)
    .datasource(prometheusDataSource)
    .span(width)
    .height(height)
    .unit(settings.unit)
    .noValue(settings.noValue ?? noListingText)
    .thresholds(thresholds(settings.thresholds ?? ['green']));
  const links = seriesLinks(queries.flatMap(({ legend }) => legend ?? []));
  if (links.length > 0) panel.dataLinks(links);
  if (settings.decimals !== undefined) panel.decimals(settings.decimals);
  if (settings.mappings) panel.mappings(settings.mappings);
  if (settings.range) panel.timeFrom(settings.range);
  if (settings.interval) panel.interval(settings.interval);
  for (const override of settings.overrides ?? []) panel.overrideByName(override.name, properties(override.properties));
  return panel;
}

/** The queries of a panel, with the reference ids A, B, … */
const targets = (queries: Query[], configure: (target: DataqueryBuilder) => DataqueryBuilder): Builder<never>[] =>
  queries.map(
    ({ expr, legend }, index) =>
      configure(
        new DataqueryBuilder()
          .datasource(prometheusDataSource)
          .refId(String.fromCharCode(65 + index))
          .expr(expr)
          .legendFormat(legend ?? '__auto'),
      ) as never,
  );

const rangeQueries = (queries: Query[]) => targets(queries, (target) => target.range());
const instantQueries = (queries: Query[]) => targets(queries, (target) => target.instant());
const tableQueries = (queries: Query[]) => targets(queries, (target) => target.instant().format(PromQueryFormat.Table));

const lastValue = () => new ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(false);

/** One large value, on the color of its threshold if there are thresholds. */
export const stat = (settings: PanelSettings, query: Query): Builder<Panel> =>
  withSettings(new StatBuilder(), settings)
    .targets(instantQueries([query]))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .colorMode(settings.thresholds ? BigValueColorMode.Background : BigValueColorMode.None)
    .graphMode(BigValueGraphMode.None)
    .textMode(BigValueTextMode.Value)
    .reduceOptions(lastValue());

/** A horizontal bar for each series, in the order of the query result. */
export const barGauge = (settings: PanelSettings, ...queries: Query[]): Builder<Panel> =>
  withSettings(new BarGaugeBuilder(), settings, queries)
    .targets(instantQueries(queries))
    .min(0)
    .colorScheme(
      settings.thresholds
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

export interface TimeSeriesStyle {
  /** Stacks the series. Only for values whose sum is meaningful. */
  stacked?: boolean;
  /** Draws a bar for each step instead of lines. */
  bars?: boolean;
  /** Draws the thresholds as dashed lines. */
  thresholdLines?: boolean;
  /** The minimum upper end of the axis. */
  softMax?: number;
}

/** Series over time. */
export function timeSeries(
  settings: PanelSettings,
  { stacked, bars, thresholdLines, softMax }: TimeSeriesStyle,
  ...queries: Query[]
): Builder<Panel> {
  const panel = withSettings(new TimeSeriesBuilder(), settings, queries)
    .targets(rangeQueries(queries))
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
        thresholdLines ? GraphTresholdsStyleMode.Dashed : GraphTresholdsStyleMode.Off,
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
  if (softMax !== undefined) panel.axisSoftMax(softMax);
  return panel;
}

/** States over time, one lane for each series. */
export const stateTimeline = (settings: PanelSettings, ...queries: Query[]): Builder<Panel> =>
  withSettings(new StateTimelineBuilder(), settings, queries)
    .targets(rangeQueries(queries))
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

/** A column of a table: a field of the query results, its heading, and its field settings. */
export interface Column {
  field: string;
  heading: string;
  settings?: Record<string, unknown>;
}

/** A column that is not shown, for links that refer to it. Grafana has named the setting differently over time. */
export const hiddenColumn = (field: string, heading: string): Column => ({
  field,
  heading,
  settings: { 'custom.hidden': true, 'custom.hideFrom': { legend: false, tooltip: false, viz: true } },
});

/**
 * The results of the queries joined into one table, with a row for each set of labels. The unit is `string`, so that
 * texts are shown unchanged: with any other unit Grafana takes `+4930…` for a number and drops the sign.
 */
export function table(
  settings: Omit<PanelSettings, 'unit'>,
  columns: Column[],
  sortBy: { column: string; descending: boolean },
  ...queries: Query[]
): Builder<Panel> {
  const renamed = Object.fromEntries(columns.map(({ field, heading }) => [field, heading]));
  const order = Object.fromEntries(columns.map(({ field }, index) => [field, index]));
  const transformations: DataTransformerConfig[] = [
    { id: 'merge', options: {} },
    { id: 'filterFieldsByName', options: { include: { names: columns.map(({ field }) => field) } } },
    { id: 'organize', options: { excludeByName: {}, indexByName: order, renameByName: renamed } },
  ];
  // An empty cell must not show the text of a panel without data.
  const emptyCell: Column['settings'] = { noValue: '–' };
  const panel = withSettings(new TableBuilder(), { ...settings, unit: 'string' })
    .targets(tableQueries(queries))
    .transformations(transformations)
    .showHeader(true)
    .sortBy([new TableSortByFieldStateBuilder().displayName(sortBy.column).desc(sortBy.descending)]);
  const fields = columns.map(({ field }) => field);
  for (const { field, heading, settings } of columns) {
    const links = columnLinks(field, fields);
    panel.overrideByName(heading, properties({ ...emptyCell, ...(links.length > 0 && { links }), ...settings }));
  }
  return panel;
}

/** A world map with a circle on each country, sized by the value. The query must return one series per `country`. */
export const geomap = (settings: PanelSettings, query: Query): Builder<Panel> =>
  withSettings(new GeomapBuilder(), settings)
    .targets(tableQueries([query]))
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
