/** One panel, drawn by the components that Grafana publishes. */
import {
  type DataFrame,
  FieldConfigOptionsRegistry,
  FieldType,
  type FieldConfigPropertyItem,
  type GrafanaTheme2,
  type TimeRange,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
} from '@grafana/data';
import { BarGaugeNamePlacement } from '@grafana/schema';
import { BarGauge, BigValue, PanelChrome, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

import type { Panel } from './data';

/** How a panel was drawn, and from how much. */
export interface Drawn {
  id: number;
  title: string;
  type: string;
  /** The component, or why none of those on npm draws it. */
  by: string;
  /** Colours of a graph, texts of anything else. */
  shown: number;
  /** Whether it says that there is nothing to show. */
  noData: boolean;
}

/** What stands in for the kinds of panels that Grafana keeps to its server. */
export const STAND_INS: Record<string, string> = {
  geomap: 'The map itself is drawn by Grafana alone; these are its data.',
  'state-timeline': 'The state timeline itself is drawn by Grafana alone; these are its data, as lines.',
};

const settings = [
  'unit',
  'decimals',
  'min',
  'max',
  'displayName',
  'noValue',
  'color',
  'thresholds',
  'mappings',
  'links',
];
const ofKind = [
  'drawStyle',
  'fillOpacity',
  'lineWidth',
  'showPoints',
  'axisPlacement',
  'stacking',
  'thresholdsStyle',
  'axisSoftMin',
  'axisSoftMax',
  'cellOptions',
  'hideFrom',
  'spanNulls',
  'rowHeight',
  'mergeValues',
  'lineInterpolation',
  'width',
  'minWidth',
];

/** Every setting is taken as it is written. */
const registry = new FieldConfigOptionsRegistry(() => [
  ...settings.map((id) => item(id, id, false)),
  ...ofKind.map((path) => item(`custom.${path}`, path, true)),
]);

function item(id: string, path: string, isCustom: boolean): FieldConfigPropertyItem {
  const nothing = () => null;
  return {
    id,
    path,
    isCustom,
    name: path,
    process: (value: unknown) => value,
    shouldApply: () => true,
    editor: nothing,
    override: nothing,
    settings: {},
  } as never;
}

/** JSON has no infinity, so the first threshold is written as null. */
const finite = (config: Panel['fieldConfig']): Panel['fieldConfig'] =>
  JSON.parse(JSON.stringify(config), (key, value) => (key === 'value' && value === null ? -Infinity : value));

const replaced = (text: string): string => text;

export interface Props {
  panel: Panel;
  title: string;
  data: DataFrame[];
  range: TimeRange;
  width: number;
  height: number;
  theme: GrafanaTheme2;
}

export function DrawnPanel({ panel, title, data, range, width, height, theme }: Props) {
  const fieldConfig = finite(panel.fieldConfig);
  const frames = applyFieldOverrides({
    data,
    fieldConfig,
    replaceVariables: replaced,
    theme,
    timeZone: 'utc',
    fieldConfigRegistry: registry,
  });
  // As Grafana's panels do: the names as they are after renaming.
  cacheFieldDisplayNames(frames);
  return (
    <PanelChrome title={title} description={panel.description} width={width} height={height}>
      {(innerWidth: number, innerHeight: number) => {
        const inner = { panel, frames, fieldConfig, range, width: innerWidth, height: innerHeight, theme };
        if (frames.every((frame) => frame.length === 0)) return <NoData {...inner} />;
        const Kind = KINDS[panel.type] ?? NoData;
        return <Kind {...inner} />;
      }}
    </PanelChrome>
  );
}

interface Inner {
  panel: Panel;
  frames: DataFrame[];
  fieldConfig: Panel['fieldConfig'];
  range: TimeRange;
  width: number;
  height: number;
  theme: GrafanaTheme2;
}

const KINDS: Record<string, (inner: Inner) => React.ReactNode> = {
  bargauge: Bars,
  geomap: StandIn,
  stat: Stats,
  'state-timeline': StandIn,
  table: Rows,
  timeseries: Lines,
};

function NoData({ fieldConfig }: Inner) {
  return <div className="no-data">{fieldConfig.defaults.noValue}</div>;
}

const values = ({ panel, frames, fieldConfig, theme }: Inner) =>
  getFieldDisplayValues({
    data: frames,
    reduceOptions: panel.options.reduceOptions,
    fieldConfig,
    replaceVariables: replaced,
    theme,
    timeZone: 'utc',
  });

function Stats(inner: Inner) {
  const { panel, width, height, theme } = inner;
  return (
    <VizRepeater
      width={width}
      height={height}
      source={panel}
      getValues={() => values(inner)}
      renderCounter={0}
      orientation={'auto' as never}
      autoGrid
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width, height, alignmentFactors }) => (
        <BigValue
          value={value.display}
          width={width}
          height={height}
          theme={theme}
          alignmentFactors={alignmentFactors}
          colorMode={panel.options.colorMode}
          graphMode={panel.options.graphMode}
          textMode={panel.options.textMode}
        />
      )}
    />
  );
}

function Bars(inner: Inner) {
  const { panel, width, height, theme } = inner;
  const { orientation, displayMode, valueMode, showUnfilled, minVizHeight, minVizWidth, text } = panel.options;
  return (
    <VizRepeater
      width={width}
      height={height}
      source={panel}
      getValues={() => values(inner)}
      renderCounter={0}
      orientation={orientation}
      minVizHeight={minVizHeight}
      minVizWidth={minVizWidth}
      itemSpacing={10}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width, height, alignmentFactors }) => (
        <BarGauge
          value={value.display}
          width={width}
          height={height}
          theme={theme}
          field={value.field}
          alignmentFactors={alignmentFactors}
          display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
          itemSpacing={10}
          orientation={orientation}
          displayMode={displayMode}
          valueDisplayMode={valueMode}
          showUnfilled={showUnfilled}
          text={text}
          namePlacement={BarGaugeNamePlacement.Auto}
        />
      )}
    />
  );
}

function Lines({ panel, frames, range, width, height }: Inner) {
  return (
    <TimeSeries
      frames={frames}
      timeRange={range}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
    >
      {() => null}
    </TimeSeries>
  );
}

function Rows({ panel, frames, width, height, fieldConfig }: Inner) {
  return (
    <TableNG
      data={frames[0]}
      width={width}
      height={height}
      sortBy={panel.options.sortBy}
      fieldConfig={fieldConfig}
      cellHeight={panel.options.cellHeight}
      noValue={fieldConfig.defaults.noValue}
      enableVirtualization={false}
    />
  );
}

/** A frame without the time of the query, and a graph without the fill of its states. */
function StandIn(inner: Inner) {
  const { panel } = inner;
  const height = inner.height - 24;
  const frames = inner.frames.map((frame) => ({
    ...frame,
    fields: frame.fields
      .filter(({ type }) => panel.type !== 'geomap' || type !== FieldType.time)
      .map((field) => ({
        ...field,
        config: { ...field.config, custom: { ...field.config.custom, fillOpacity: 0, lineWidth: 1 } },
      })),
  }));
  const Kind = panel.type === 'geomap' ? Rows : Lines;
  return (
    <>
      <div className="stand-in">{STAND_INS[panel.type]}</div>
      <Kind {...inner} frames={frames} height={height} />
    </>
  );
}
