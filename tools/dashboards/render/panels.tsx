/** Renders a panel with the components that Grafana publishes. */
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
  getFieldDisplayName,
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

import type { Panel } from './model';

/** Notes on the panel types whose components Grafana does not publish; a stand-in is drawn for them. */
export const STAND_INS: Record<string, string> = {
  geomap: 'Grafana draws a world map here; this table shows the same data.',
  'state-timeline': 'Grafana draws a state timeline here; these lines show the same data.',
};

/** A registry of all field options that a panel sets, which applies them unchanged. */
function fieldOptionsRegistry({
  defaults: { custom, ...defaults },
  overrides,
}: Panel['fieldConfig']): FieldConfigOptionsRegistry {
  const ids = new Set([
    ...Object.keys(defaults),
    ...Object.keys(custom ?? {}).map((path) => `custom.${path}`),
    ...overrides.flatMap((override) => override.properties.map(({ id }) => id)),
  ]);
  return new FieldConfigOptionsRegistry(() => [...ids].map(fieldOption));
}

function fieldOption(id: string): FieldConfigPropertyItem {
  const path = id.replace('custom.', '');
  return {
    id,
    path,
    isCustom: path !== id,
    name: path,
    process: (value: unknown) => value,
    shouldApply: () => true,
    editor: () => null,
    override: () => null,
    settings: {},
  } as never;
}

/** Restores the value of the first threshold, -Infinity, which JSON represents as null. */
const restoreInfinity = (config: Panel['fieldConfig']): Panel['fieldConfig'] =>
  JSON.parse(JSON.stringify(config), (key, value) => (key === 'value' && value === null ? -Infinity : value));

/** The texts that panels show contain no variables. */
const keepVariables = (text: string): string => text;

export interface RenderedPanelProps {
  panel: Panel;
  title: string;
  data: DataFrame[];
  range: TimeRange;
  /** In pixels, including the frame and the title. */
  width: number;
  height: number;
  theme: GrafanaTheme2;
}

export function RenderedPanel({ panel, title, data, range, width, height, theme }: RenderedPanelProps) {
  const fieldConfig = restoreInfinity(panel.fieldConfig);
  const frames = applyFieldOverrides({
    data,
    fieldConfig,
    replaceVariables: keepVariables,
    theme,
    timeZone: 'utc',
    fieldConfigRegistry: fieldOptionsRegistry(fieldConfig),
  });
  // Computes the display names after overrides have renamed fields, as Grafana does.
  cacheFieldDisplayNames(frames);
  return (
    <PanelChrome title={title} description={panel.description} width={width} height={height}>
      {(innerWidth: number, innerHeight: number) => {
        const props = { panel, frames, fieldConfig, range, width: innerWidth, height: innerHeight, theme };
        if (frames.every((frame) => frame.length === 0)) return <NoData {...props} />;
        const Visualization = VISUALIZATIONS[panel.type] ?? NoData;
        return <Visualization {...props} />;
      }}
    </PanelChrome>
  );
}

/** The properties of a visualization. `width` and `height` are those inside the panel's frame, in pixels. */
interface VisualizationProps {
  panel: Panel;
  frames: DataFrame[];
  fieldConfig: Panel['fieldConfig'];
  range: TimeRange;
  width: number;
  height: number;
  theme: GrafanaTheme2;
}

/** By panel type. */
const VISUALIZATIONS: Record<string, (props: VisualizationProps) => React.ReactNode> = {
  bargauge: BarGauges,
  geomap: StandIn,
  stat: Stats,
  'state-timeline': StandIn,
  table: DataTable,
  timeseries: TimeSeriesGraph,
};

function NoData({ fieldConfig }: VisualizationProps) {
  return <div className="no-data">{fieldConfig.defaults.noValue}</div>;
}

/** The gap between the values of a panel, in pixels. */
const VALUE_GAP = 10;

const displayValues = ({ panel, frames, fieldConfig, theme }: VisualizationProps) =>
  getFieldDisplayValues({
    data: frames,
    reduceOptions: panel.options.reduceOptions,
    fieldConfig,
    replaceVariables: keepVariables,
    theme,
    timeZone: 'utc',
  });

type ValueProps = VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>;

/** Lays out one component for each value of a panel. */
function RepeatedValues({
  panelProps,
  orientation,
  renderValue,
}: {
  panelProps: VisualizationProps;
  orientation: VizOrientation;
  renderValue: (props: ValueProps) => JSX.Element;
}) {
  const { panel, width, height } = panelProps;
  return (
    <VizRepeater
      width={width}
      height={height}
      source={panel}
      getValues={() => displayValues(panelProps)}
      renderCounter={0}
      orientation={orientation}
      minVizHeight={panel.options.minVizHeight}
      minVizWidth={panel.options.minVizWidth}
      itemSpacing={VALUE_GAP}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={renderValue}
    />
  );
}

function Stats(props: VisualizationProps) {
  const { colorMode, graphMode, textMode } = props.panel.options;
  const renderValue = ({ value, ...valueProps }: ValueProps) => (
    <BigValue {...valueProps} value={value.display} theme={props.theme} {...{ colorMode, graphMode, textMode }} />
  );
  return <RepeatedValues panelProps={props} orientation={VizOrientation.Auto} renderValue={renderValue} />;
}

function BarGauges(props: VisualizationProps) {
  const { orientation, displayMode, valueMode, showUnfilled, text } = props.panel.options;
  const renderValue = ({ value, ...valueProps }: ValueProps) => (
    <BarGauge
      {...valueProps}
      value={value.display}
      theme={props.theme}
      field={value.field}
      display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
      itemSpacing={VALUE_GAP}
      valueDisplayMode={valueMode}
      namePlacement={BarGaugeNamePlacement.Auto}
      {...{ orientation, displayMode, showUnfilled, text }}
    />
  );
  return <RepeatedValues panelProps={props} orientation={orientation} renderValue={renderValue} />;
}

function TimeSeriesGraph({ panel, frames, range, width, height }: VisualizationProps) {
  // The published component forgets the display name of the first series when it chooses the color by name, which Grafana
  // does not.
  const named = frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) =>
      field.type === FieldType.number ? { ...field, name: getFieldDisplayName(field, frame, frames) } : field,
    ),
  }));
  return (
    <TimeSeries
      frames={named}
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

function DataTable({ panel, frames, width, height, fieldConfig }: VisualizationProps) {
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

/** The height of the note above a stand-in, in pixels. */
const NOTE_HEIGHT = 24;

/** Shows a map as a table, without the time of the query, and a state timeline as lines, without fill. */
function StandIn(props: VisualizationProps) {
  const { panel } = props;
  const height = props.height - NOTE_HEIGHT;
  const frames = props.frames.map((frame) => ({
    ...frame,
    fields: frame.fields
      .filter(({ type }) => panel.type !== 'geomap' || type !== FieldType.time)
      .map((field) => ({
        ...field,
        config: { ...field.config, custom: { ...field.config.custom, fillOpacity: 0, lineWidth: 1 } },
      })),
  }));
  const Visualization = panel.type === 'geomap' ? DataTable : TimeSeriesGraph;
  return (
    <>
      <div className="stand-in">{STAND_INS[panel.type]}</div>
      <Visualization {...props} frames={frames} height={height} />
    </>
  );
}
