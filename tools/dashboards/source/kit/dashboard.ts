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

import { gauge, increase, ofProcess, sum } from './queries';
import { prometheus } from './variables';

/** A heading and the panels below it. */
export interface Section {
  title: string;
  panels: Builder<Panel>[];
  /** Closed until someone opens it; its queries run only then. */
  closed?: boolean;
  /** Once for each value of this variable. */
  each?: string;
}

export interface Page {
  /** Also the name of the file. It never changes: links and bookmarks have it. */
  uid: string;
  title: string;
  description: string;
  range: string;
  refresh: string;
  variables: Builder<VariableModel>[];
  sections: Section[];
}

/** What an annotation of the Prometheus data source has besides what the schema of all annotations knows. */
interface Marks extends AnnotationQuery {
  step: string;
  titleFormat: string;
  textFormat: string;
  /** The value is the time, in milliseconds, rather than the sample's own. */
  useValueForTime: boolean;
}

const marks = (
  name: string,
  iconColor: string,
  expr: string,
  textFormat: string,
  useValueForTime: boolean,
): Builder<AnnotationQuery> => ({
  build: (): Marks => ({
    name,
    datasource: prometheus,
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

const changed = [
  'tryvox_numbers_added_total',
  'tryvox_numbers_removed_total',
  'tryvox_number_status_changes_total',
  'tryvox_number_fee_changes_total',
];

const annotations = [
  marks('Restart', 'blue', `1000 * ${ofProcess('process_start_time_seconds')}`, '{{instance}}', true),
  marks(
    'Reload',
    'purple',
    `1000 * ${ofProcess('tryvox_exporter_config_last_reload_success_timestamp_seconds')}`,
    '{{instance}}',
    true,
  ),
  // More than a tenth of an account's numbers, and five at least.
  marks(
    'Mass change',
    'orange',
    `(${changed.map((family) => sum(['account'], increase('10m', family))).join(' + ')}) > clamp_min(0.1 * ${sum(['account'], gauge('tryvox_listed_numbers'))}, 4.5)`,
    '{{account}}',
    false,
  ),
];

/** The schema of dashboards since Grafana 10.0; later ones bring it up to their own. */
const SCHEMA_VERSION = 38;

const COLUMNS = 24;

/** Where panels have come to, column by column, in rows from the top. */
class Grid {
  private readonly depths = new Array<number>(COLUMNS).fill(0);

  /** Gives a panel of this size the place that is highest and, of those, most to the left. */
  place(width: number, height: number): GridPos {
    const starts = Array.from({ length: COLUMNS - width + 1 }, (_, x) => x);
    const y = (x: number) => Math.max(...this.depths.slice(x, x + width));
    const x = starts.reduce((best, x) => (y(x) < y(best) ? x : best));
    const place = { x, y: y(x), w: width, h: height };
    this.depths.fill(place.y + height, x, x + width);
    return place;
  }
}

/** The dashboard, with its panels numbered and placed in the order of its sections. */
export function dashboard(page: Page): Dashboard {
  const builder = new DashboardBuilder(page.title)
    .uid(page.uid)
    .description(page.description)
    .tags(['tryvox'])
    .readonly()
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: page.range, to: 'now' })
    .refresh(page.refresh)
    .variables(page.variables)
    .annotations(annotations)
    .link(
      new DashboardLinkBuilder('TryVox')
        .type(DashboardLinkType.Dashboards)
        .tags(['tryvox'])
        .includeVars(true)
        .keepTime(true)
        .asDropdown(false),
    );
  for (const { title, panels, closed, each } of page.sections) {
    const row = new RowBuilder(title).collapsed(closed ?? false);
    if (each) row.repeat(each);
    builder.withRow(row);
    panels.forEach((panel) => (closed ? row : builder).withPanel(panel));
  }
  const { style: _, ...built } = builder.build();
  const grid = new Grid();
  let id = 0;
  const settle = (panel: Panel | RowPanel) => {
    panel.id = ++id;
    if (panel.type === 'row') panel.gridPos = grid.place(COLUMNS, 1);
    else if (panel.gridPos) panel.gridPos = grid.place(panel.gridPos.w, panel.gridPos.h);
    if ('panels' in panel) panel.panels.forEach(settle);
  };
  built.panels?.forEach(settle);
  return { ...built, schemaVersion: SCHEMA_VERSION } as Dashboard;
}
