/** The row of the dashboard of the exporter about its processes: resources, HTTP, state file and versions. */
import type { Section } from './kit/dashboard';
import { type PanelSettings, type TimeSeriesStyle, integerUnit, noTargetText, table, timeSeries } from './kit/panels';
import { processMetric, sum, withoutName } from './kit/queries';

/** A graph with one line for each exporter. */
const exporterGraph = (
  title: string,
  description: string,
  unit: Pick<PanelSettings, 'unit' | 'decimals'>,
  expr: string,
  style: TimeSeriesStyle = {},
  width = 8,
) =>
  timeSeries({ title, description, size: [width, 8], ...unit, noValue: noTargetText }, style, {
    expr,
    legend: '{{instance}}',
  });

export const processes: Section = {
  title: 'Exporter processes',
  panels: [
    exporterGraph(
      'Scrape duration',
      'Duration of the scrapes by Prometheus. It must stay below the scrape timeout; if it does not, see CPU usage.',
      { unit: 's' },
      processMetric('scrape_duration_seconds'),
    ),
    exporterGraph(
      'Scraped samples',
      'Count of samples per scrape, one for each series. To lower it, disable collectors or lower --collector.label-limit and --collector.number.limit.',
      integerUnit,
      processMetric('scrape_samples_scraped'),
    ),
    exporterGraph(
      'CPU usage',
      'CPU seconds used per second; 1 is one core.',
      { unit: 'none', decimals: 3 },
      `rate(${processMetric('process_cpu_seconds_total')}[$__rate_interval])`,
      { softMax: 0.1 },
    ),
    exporterGraph(
      'Resident memory',
      'Resident memory in bytes. It grows with the numbers of the accounts; docs/sizing.md has reference values.',
      { unit: 'bytes' },
      processMetric('process_resident_memory_bytes'),
    ),
    exporterGraph(
      'Open file descriptors',
      'Count of open file descriptors, including connections. A steady rise points to clients that do not close connections; see --web.max-connections.',
      integerUnit,
      processMetric('process_open_fds'),
    ),
    exporterGraph(
      'Threads',
      'Count of operating system threads. Short peaks are normal, because blocking work runs on additional threads.',
      integerUnit,
      processMetric('process_threads'),
    ),
    timeSeries(
      {
        title: 'HTTP requests',
        description:
          'HTTP requests per second by handler and status code. 401 means a wrong user or password, 429 the rate limit of the web configuration file, 503 of /-/ready an account that has not been polled yet.',
        size: [8, 8],
        unit: 'reqps',
        noValue: noTargetText,
      },
      { stacked: true },
      {
        expr: `${sum(['handler', 'code'], `rate(${processMetric('tryvox_exporter_http_requests_total')}[$__rate_interval])`)} > 0`,
        legend: '{{handler}} {{code}}',
      },
    ),
    exporterGraph(
      'Open HTTP connections',
      'Count of open HTTP connections. At --web.max-connections, new connections replace idle ones or are refused.',
      integerUnit,
      processMetric('tryvox_exporter_http_connections'),
      { softMax: 10 },
    ),
    exporterGraph(
      'Refused HTTP connections',
      'Count of HTTP connections refused because of --web.max-connections, per step of the graph. If it is above 0, scrapes may be missing: raise the limit, or find the client that opens so many connections.',
      integerUnit,
      `increase(${processMetric('tryvox_exporter_http_connections_refused_total')}[$__rate_interval])`,
      { softMax: 1 },
    ),
    exporterGraph(
      'State file errors',
      'Count of errors reading or writing the state file, per step of the graph. While it is above 0, TryvoxStateErrors fires and changes may be lost at a restart: check the log and the disk.',
      integerUnit,
      `increase(${processMetric('tryvox_exporter_state_errors_total')}[$__rate_interval])`,
      { softMax: 1 },
      12,
    ),
    exporterGraph(
      'Time since the last write to the state file',
      'Seconds since the last poll was stored. It should not exceed the poll interval by much. No data without --state.file.',
      { unit: 's' },
      `time() - ${withoutName(processMetric('tryvox_exporter_state_last_write_timestamp_seconds'))}`,
      {},
      12,
    ),
    table(
      {
        title: 'Exporters',
        description:
          'Version, shard, start time and time of the last successful configuration load of each exporter. All exporters of a job should have the same version and total number of shards; if shards differ in it or share an ordinal, TryvoxShardsInconsistent fires.',
        size: [24, 7],
        noValue: noTargetText,
      },
      [
        { field: 'job', heading: 'Job' },
        { field: 'instance', heading: 'Instance' },
        { field: 'version', heading: 'Version', settings: { 'custom.width': 75 } },
        { field: 'revision', heading: 'Revision', settings: { 'custom.width': 120 } },
        { field: 'target', heading: 'Target', settings: { 'custom.width': 195 } },
        { field: 'rustc', heading: 'Rust', settings: { 'custom.width': 65 } },
        { field: 'Value #B', heading: 'Shard', settings: { 'custom.width': 60, unit: 'none', decimals: 0 } },
        {
          field: 'Value #C',
          heading: 'Shards',
          settings: { 'custom.width': 70, unit: 'none', decimals: 0 },
        },
        { field: 'Value #D', heading: 'Started', settings: { 'custom.width': 160, unit: 'dateTimeAsIso' } },
        {
          field: 'Value #E',
          heading: 'Last reload',
          settings: { 'custom.width': 160, unit: 'dateTimeAsIso' },
        },
      ],
      { column: 'Instance', descending: false },
      { expr: withoutName(processMetric('tryvox_exporter_build_info')) },
      { expr: withoutName(processMetric('tryvox_exporter_shard_ordinal')) },
      { expr: withoutName(processMetric('tryvox_exporter_total_shards')) },
      { expr: `1000 * ${withoutName(processMetric('process_start_time_seconds'))}` },
      {
        expr: `1000 * ${withoutName(processMetric('tryvox_exporter_config_last_reload_success_timestamp_seconds'))}`,
      },
    ),
  ],
};
