/** Builds a dashboard: its settings, annotations, and the layout of its panels. */
import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  type AnnotationQuery,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  type GridPos,
  type Panel,
  RowBuilder,
  type RowPanel,
  type VariableModel,
} from '@grafana/grafana-foundation-sdk/dashboard';

import { gauge, increase, processMetric, sum } from './queries';
import { prometheusDataSource } from './variables';

/** A row: a heading and the panels below it. */
export interface Section {
  title: string;
  panels: Builder<Panel>[];
  /** Whether the row is initially collapsed; its queries run only after it is expanded. */
  collapsed?: boolean;
  /** The name of the variable for each of whose values the row is repeated. */
  repeat?: string;
}

export interface DashboardDefinition {
  /** Also the file name. It must not change, because links and bookmarks contain it. */
  uid: string;
  title: string;
  description: string;
  /** The start of the default time range, which ends now: `now-24h`. */
  from: string;
  /** The interval of the automatic refresh: `1m`. */
  refresh: string;
  variables: Builder<VariableModel>[];
  sections: Section[];
}

/** An annotation with the fields of the Prometheus data source, which the SDK's type lacks. */
interface PrometheusAnnotation extends AnnotationQuery {
  step: string;
  titleFormat: string;
  textFormat: string;
  /** Whether the annotation is placed at the sample's value, in milliseconds, instead of at the sample's time. */
  useValueForTime: boolean;
}

const annotation = (
  name: string,
  iconColor: string,
  expr: string,
  textFormat: string,
  useValueForTime: boolean,
): Builder<AnnotationQuery> => ({
  build: (): PrometheusAnnotation => ({
    name,
    datasource: prometheusDataSource,
    enable: true,
    hide: false,
    iconColor,
    expr,
    step: '60s',
    titleFormat: name,
    textFormat,
    useValueForTime,
  }),
});

const changeCounters = [
  'tryvox_numbers_added_total',
  'tryvox_numbers_removed_total',
  'tryvox_number_status_changes_total',
  'tryvox_number_fee_changes_total',
  'tryvox_number_assignment_changes_total',
];

const annotations = [
  annotation(
    'Exporter restart',
    'blue',
    `1000 * ${processMetric('process_start_time_seconds')}`,
    'Exporter {{instance}} started.',
    true,
  ),
  annotation(
    'Configuration reload',
    'purple',
    `1000 * ${processMetric('tryvox_exporter_config_last_reload_success_timestamp_seconds')}`,
    'Exporter {{instance}} loaded its configuration.',
    true,
  ),
  // More than 10% of an account's numbers changed within 10 minutes, and at least five.
  annotation(
    'Mass change',
    'orange',
    `(${changeCounters.map((family) => sum(['account'], increase('10m', family))).join(' + ')}) > clamp_min(0.1 * ${sum(['account'], gauge('tryvox_listed_numbers'))}, 4.5)`,
    'More than 10% of the numbers of the account {{account}} were added, removed, repriced or changed status within 10 minutes.',
    false,
  ),
];

/** The dashboard schema of Grafana 10.0. Later versions migrate it when they load the dashboard. */
const SCHEMA_VERSION = 38;

/** The width of Grafana's grid. */
const COLUMNS = 24;

/** Assigns positions to panels, top to bottom. */
class Grid {
  /** The first free row of each column. */
  private readonly firstFreeRows = new Array<number>(COLUMNS).fill(0);

  /** Returns the topmost free position for a panel of this size; of several, the leftmost. */
  place(width: number, height: number): GridPos {
    const starts = Array.from({ length: COLUMNS - width + 1 }, (_, x) => x);
    const top = (x: number) => Math.max(...this.firstFreeRows.slice(x, x + width));
    const x = starts.reduce((best, x) => (top(x) < top(best) ? x : best));
    const position = { x, y: top(x), w: width, h: height };
    this.firstFreeRows.fill(position.y + height, x, x + width);
    return position;
  }
}

/** Builds a dashboard. Panels get their ids and positions in the order of the sections. */
export function buildDashboard(definition: DashboardDefinition): Dashboard {
  const builder = new DashboardBuilder(definition.title)
    .uid(definition.uid)
    .description(definition.description)
    .tags(['tryvox'])
    .readonly()
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: definition.from, to: 'now' })
    .refresh(definition.refresh)
    .variables(definition.variables)
    .annotations(annotations)
    .link(
      new DashboardLinkBuilder('TryVox dashboards')
        .type(DashboardLinkType.Dashboards)
        .tags(['tryvox'])
        .includeVars(true)
        .keepTime(true)
        .asDropdown(false),
    );
  for (const { title, panels, collapsed, repeat } of definition.sections) {
    const row = new RowBuilder(title).collapsed(collapsed ?? false);
    if (repeat) row.repeat(repeat);
    builder.withRow(row);
    panels.forEach((panel) => (collapsed ? row : builder).withPanel(panel));
  }
  const { style: _, ...built } = builder.build();
  const grid = new Grid();
  let id = 0;
  const numberAndPlace = (panel: Panel | RowPanel) => {
    panel.id = ++id;
    if (panel.type === 'row') panel.gridPos = grid.place(COLUMNS, 1);
    else if (panel.gridPos) panel.gridPos = grid.place(panel.gridPos.w, panel.gridPos.h);
    if ('panels' in panel) panel.panels.forEach(numberAndPlace);
  };
  built.panels?.forEach(numberAndPlace);
  return { ...built, schemaVersion: SCHEMA_VERSION } as Dashboard;
}
