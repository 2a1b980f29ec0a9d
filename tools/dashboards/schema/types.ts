/** The types of the dashboard JSON, as Grafana publishes them. `check.ts` generates its schema from them. */
import type { Dashboard, TableFieldOptions } from '@grafana/schema';
import type { Options as BarGauge } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Geomap } from '@grafana/schema/dist/esm/raw/composable/geomap/panelcfg/x/GeomapPanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {
  FieldConfig as StateTimelineField,
  Options as StateTimeline,
} from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type { Options as Table } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeries,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type { DataLink } from '@grafana/schema/apis/dashboard.grafana.app/v2';
import type { dataquery } from '@grafana/grafana-foundation-sdk/prometheus';

export interface Grafana {
  dashboard: Dashboard;
  target: dataquery;
  dataLink: DataLink;
  /** Panel options by panel type. */
  options: {
    bargauge: BarGauge;
    geomap: Geomap;
    stat: Stat;
    'state-timeline': StateTimeline;
    table: Table;
    timeseries: TimeSeries;
  };
  /** The `custom` part of the field configuration by panel type. */
  custom: { 'state-timeline': StateTimelineField; table: TableFieldOptions; timeseries: TimeSeriesField };
}
