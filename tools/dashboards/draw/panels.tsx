/** One panel, drawn by the components that Grafana publishes. */
import {
  type DataFrame,
  type DisplayValueAlignmentFactors,
  type FieldDisplay,
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
import { BarGaugeNamePlacement, VizOrientation } from '@grafana/schema';
import {
  BarGauge,
  BigValue,
  PanelChrome,
  TimeSeries,
  VizRepeater,
  type VizRepeaterRenderValueProps,
} from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

import type { JSX } from 'react';

import type { Panel } from './data';

/** How a panel was drawn, and from how much. */
export interface Drawn {
  id: number;
  title: string;
  type: string;
  /** Whether by something else than what Grafana draws it by. */
  standIn: boolean;
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

/** Every setting that a panel has, taken as it is written. */
function registry({ defaults: { custom, ...defaults }, overrides }: Panel['fieldConfig']): FieldConfigOptionsRegistry {
  const ids = new Set([
    ...Object.keys(defaults),
    ...Object.keys(custom ?? {}).map((path) => `custom.${path}`),
    ...overrides.flatMap((one) => one.properties.map(({ id }) => id)),
  ]);
  return new FieldConfigOptionsRegistry(() => [...ids].map(item));
}

function item(id: string): FieldConfigPropertyItem {
  const path = id.replace('custom.', '');
  const nothing = () => null;
  return {
    id,
    path,
    isCustom: path !== id,
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
    fieldConfigRegistry: registry(fieldConfig),
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

/** The gap between single values, in pixels. */
const SPACING = 10;

const values = ({ panel, frames, fieldConfig, theme }: Inner) =>
  getFieldDisplayValues({
    data: frames,
    reduceOptions: panel.options.reduceOptions,
    fieldConfig,
    replaceVariables: replaced,
    theme,
    timeZone: 'utc',
  });

type Shown = VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>;

/** A component for each value, of all that a panel of single values has in common. */
function Each({
  inner,
  orientation,
  one,
}: {
  inner: Inner;
  orientation: VizOrientation;
  one: (shown: Shown) => JSX.Element;
}) {
  const { panel, width, height } = inner;
  return (
    <VizRepeater
      width={width}
      height={height}
      source={panel}
      getValues={() => values(inner)}
      renderCounter={0}
      orientation={orientation}
      minVizHeight={panel.options.minVizHeight}
      minVizWidth={panel.options.minVizWidth}
      itemSpacing={SPACING}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={one}
    />
  );
}

function Stats(inner: Inner) {
  const { colorMode, graphMode, textMode } = inner.panel.options;
  const one = ({ value, ...shown }: Shown) => (
    <BigValue {...shown} value={value.display} theme={inner.theme} {...{ colorMode, graphMode, textMode }} />
  );
  return <Each inner={inner} orientation={VizOrientation.Auto} one={one} />;
}

function Bars(inner: Inner) {
  const { orientation, displayMode, valueMode, showUnfilled, text } = inner.panel.options;
  const one = ({ value, ...shown }: Shown) => (
    <BarGauge
      {...shown}
      value={value.display}
      theme={inner.theme}
      field={value.field}
      display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
      itemSpacing={SPACING}
      valueDisplayMode={valueMode}
      namePlacement={BarGaugeNamePlacement.Auto}
      {...{ orientation, displayMode, showUnfilled, text }}
    />
  );
  return <Each inner={inner} orientation={orientation} one={one} />;
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
