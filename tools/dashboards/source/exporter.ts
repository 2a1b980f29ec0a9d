/** The dashboard for SREs: whether the other dashboards have complete and recent data, and what the exporter uses. */
import { buildDashboard } from './kit/dashboard';
import {
  type PanelSettings,
  type TimeSeriesStyle,
  fixedColour,
  stat,
  stateTimeline,
  table,
  timeSeries,
  valueTexts,
} from './kit/panels';
import { accountMetric, deduplicated, gauge, highest, increase, processMetric, sum, withoutName } from './kit/queries';
import { account, datasource, instance, job } from './kit/variables';

const up = gauge('tryvox_up');
const interval = gauge('tryvox_poll_interval_seconds');
/** The age of the data in poll intervals. */
const age = `(time() - ${gauge('tryvox_last_success_timestamp_seconds')}) / ${interval}`;
/** The duration of the last poll as a share of the poll interval. */
const durationShare = `${gauge('tryvox_last_poll_duration_seconds')} / ${interval}`;
/** How many numbers the API reported but did not list. */
const missing = `${gauge('tryvox_reported_numbers')} - ${gauge('tryvox_listed_numbers')} - ${gauge('tryvox_invalid_records')}`;

const quantile = (q: number) =>
  `histogram_quantile(${q}, ${sum(['le'], `rate(${accountMetric('tryvox_api_request_duration_seconds_bucket')}[$__rate_interval])`)})`;

const upOrDown = [valueTexts({ 0: { text: 'down', color: 'red' }, 1: { text: 'up', color: 'green' } })];
const validOrInvalid = [valueTexts({ 0: { text: 'bad', color: 'red' }, 1: { text: 'good', color: 'green' } })];
const noTargetText = 'no data: no target of this job and instance';

const integerUnit = { unit: 'locale', decimals: 0 };

/** A graph with one line for each exporter. */
const exporterGraph = (
  title: string,
  description: string,
  unit: Pick<PanelSettings, 'unit' | 'decimals'>,
  expr: string,
  style: TimeSeriesStyle = {},
) =>
  timeSeries({ title, description, size: [8, 8], ...unit, noValue: noTargetText }, style, {
    expr,
    legend: '{{instance}}',
  });

export const exporter = buildDashboard({
  uid: 'tryvox-exporter',
  title: 'TryVox / Exporter',
  description:
    'Whether the polls of TryVox work, how old the data is, how the API answers, and what the exporter itself takes.',
  from: 'now-6h',
  refresh: '30s',
  variables: [datasource, job, instance, account],
  sections: [
    {
      title: 'Now',
      panels: [
        stat(
          {
            title: 'Accounts',
            description: 'Accounts that are polled.',
            size: [4, 4],
            ...integerUnit,
          },
          { expr: `count(${up})` },
        ),
        stat(
          {
            title: 'Accounts down',
            description: 'Accounts whose last poll gave no listing that can be trusted.',
            size: [4, 4],
            ...integerUnit,
            thresholds: ['green', [1, 'red']],
          },
          { expr: `count(${up} == 0) or 0 * count(${up})` },
        ),
        stat(
          {
            title: 'Oldest, in intervals',
            description:
              'How many intervals ago the account that waits longest was last listed. From 3 on its series go, unless --poll.stale-after says otherwise.',
            size: [4, 4],
            unit: 'none',
            decimals: 1,
            thresholds: ['green', [2, 'orange'], [3, 'red']],
          },
          { expr: `max(${age})` },
        ),
        stat(
          {
            title: 'Targets up',
            description: 'Exporters that Prometheus can scrape, as a share of those it should.',
            size: [4, 4],
            unit: 'percentunit',
            decimals: 0,
            noValue: noTargetText,
            thresholds: ['red', [1, 'green']],
          },
          { expr: `avg(${processMetric('up')})` },
        ),
        stat(
          {
            title: 'Configuration',
            description: 'Whether each exporter took its configuration when it last read it.',
            size: [4, 4],
            unit: 'bool_yes_no',
            noValue: noTargetText,
            mappings: validOrInvalid,
            thresholds: ['red', [1, 'green']],
          },
          { expr: `min(${processMetric('tryvox_exporter_config_last_reload_successful')})` },
        ),
        stat(
          {
            title: 'Shards missing',
            description: 'Shards of --total-shards that no target is: nobody polls their accounts.',
            size: [4, 4],
            ...integerUnit,
            noValue: noTargetText,
            thresholds: ['green', [1, 'red']],
          },
          {
            expr: `sum(max by (job) (${processMetric('tryvox_exporter_total_shards')}) - count by (job) (count_values by (job) ("shard", ${processMetric('tryvox_exporter_shard_ordinal')})))`,
          },
        ),
      ],
    },
    {
      title: 'Accounts',
      panels: [
        stateTimeline(
          {
            title: 'Up, by account',
            description:
              'Whether the last poll gave a listing that can be trusted; the 30 accounts that were down most.',
            size: [24, 9],
            unit: 'bool_yes_no',
            mappings: upOrDown,
            thresholds: ['red', [1, 'green']],
          },
          {
            expr: `${up} and bottomk(30, ${deduplicated(`avg_over_time(${accountMetric('tryvox_up')}[$__range] @ end())`)})`,
            legend: '{{account}}',
          },
        ),
        timeSeries(
          {
            title: 'Age of the data, in intervals',
            description:
              'How long ago the account was last listed, in poll intervals; the 20 oldest. A healthy account stays below 1, and from 3 on its series go.',
            size: [12, 8],
            unit: 'none',
            decimals: 1,
            thresholds: ['green', [3, 'red']],
          },
          { thresholdLines: true, softMax: 3.5 },
          { expr: highest(20, age), legend: '{{account}}' },
        ),
        timeSeries(
          {
            title: 'Poll duration, share of the interval',
            description:
              'How much of its interval the last poll took; the 20 slowest. From 80 % on TryvoxPollSlow fires.',
            size: [12, 8],
            unit: 'percentunit',
            decimals: 1,
            thresholds: ['green', [0.8, 'red']],
          },
          { thresholdLines: true, softMax: 1 },
          { expr: highest(20, durationShare), legend: '{{account}}' },
        ),
        table(
          {
            title: 'Accounts',
            description: 'The last poll of each account, and what its listing lacks.',
            size: [24, 9],
          },
          [
            { field: 'account', heading: 'Account' },
            {
              field: 'Value #A',
              heading: 'Up',
              settings: { 'custom.width': 70, mappings: upOrDown, 'custom.cellOptions': { type: 'color-text' } },
            },
            { field: 'Value #B', heading: 'Last poll', settings: { 'custom.width': 180, unit: 'dateTimeAsIso' } },
            { field: 'Value #C', heading: 'Last listing', settings: { 'custom.width': 180, unit: 'dateTimeAsIso' } },
            { field: 'Value #D', heading: 'Took', settings: { 'custom.width': 90, unit: 's', decimals: 2 } },
            { field: 'Value #E', heading: 'Pages', settings: { 'custom.width': 80, unit: 'locale', decimals: 0 } },
            { field: 'Value #F', heading: 'Interval', settings: { 'custom.width': 90, unit: 's', decimals: 0 } },
            { field: 'Value #G', heading: 'Numbers', settings: { 'custom.width': 100, unit: 'locale', decimals: 0 } },
            { field: 'Value #H', heading: 'Missing', settings: { 'custom.width': 90, unit: 'locale', decimals: 0 } },
            { field: 'Value #I', heading: 'Invalid', settings: { 'custom.width': 90, unit: 'locale', decimals: 0 } },
          ],
          { column: 'Up', descending: false },
          { expr: up },
          { expr: `1000 * ${gauge('tryvox_last_poll_timestamp_seconds')}` },
          { expr: `1000 * ${gauge('tryvox_last_success_timestamp_seconds')}` },
          { expr: gauge('tryvox_last_poll_duration_seconds') },
          { expr: gauge('tryvox_last_poll_pages') },
          { expr: interval },
          { expr: gauge('tryvox_listed_numbers') },
          { expr: missing },
          { expr: gauge('tryvox_invalid_records') },
        ),
      ],
    },
    {
      title: 'API',
      panels: [
        timeSeries(
          {
            title: 'Requests by code',
            description: 'Requests to the API a second, by HTTP status code; error where there was no whole answer.',
            size: [12, 8],
            unit: 'reqps',
            overrides: [fixedColour('200', 'green'), fixedColour('429', 'orange'), fixedColour('error', 'red')],
          },
          { stacked: true },
          {
            expr: sum(['code'], `rate(${accountMetric('tryvox_api_requests_total')}[$__rate_interval])`),
            legend: '{{code}}',
          },
        ),
        timeSeries(
          {
            title: 'Latency',
            description: 'How long requests to the API took, the body included: the median, 9 of 10, and 99 of 100.',
            size: [12, 8],
            unit: 's',
            noValue: 'no data: no request in this time',
          },
          {},
          { expr: quantile(0.5), legend: 'p50' },
          { expr: quantile(0.9), legend: 'p90' },
          { expr: quantile(0.99), legend: 'p99' },
        ),
        timeSeries(
          {
            title: 'Retries by reason',
            description: 'Requests that were made because the one before had failed, by why it had.',
            size: [8, 8],
            noValue: 'no request was tried again in this time',
            ...integerUnit,
            interval: '5m',
          },
          { bars: true, stacked: true },
          {
            expr: `${sum(['reason'], increase('$__rate_interval', 'tryvox_api_retries_total'))} > 0`,
            legend: '{{reason}}',
          },
        ),
        timeSeries(
          {
            title: 'Polls by result',
            description: 'Polls that ended, good and failed.',
            size: [8, 8],
            ...integerUnit,
            interval: '5m',
            overrides: [fixedColour('success', 'green'), fixedColour('failure', 'red')],
          },
          { bars: true, stacked: true },
          { expr: sum(['result'], increase('$__rate_interval', 'tryvox_polls_total')), legend: '{{result}}' },
        ),
        timeSeries(
          {
            title: 'Failed polls by reason',
            description: 'Polls that failed, by why they did.',
            size: [8, 8],
            noValue: 'no poll failed in this time',
            ...integerUnit,
            interval: '5m',
          },
          { bars: true, stacked: true },
          {
            expr: `${sum(['reason'], increase('$__rate_interval', 'tryvox_poll_errors_total'))} > 0`,
            legend: '{{reason}}',
          },
        ),
        timeSeries(
          {
            title: 'Missing numbers',
            description:
              'Numbers that the API says there are and did not list; the 20 accounts with the most. Up to --poll.max-discrepancy a listing is published all the same.',
            size: [12, 8],
            ...integerUnit,
          },
          { softMax: 1 },
          { expr: highest(20, missing), legend: '{{account}}' },
        ),
        timeSeries(
          {
            title: 'Invalid records',
            description:
              'Records of the listing that could not be read and are in no other metric; the 20 accounts with the most.',
            size: [12, 8],
            ...integerUnit,
          },
          { softMax: 1 },
          { expr: highest(20, gauge('tryvox_invalid_records')), legend: '{{account}}' },
        ),
      ],
    },
    {
      title: 'Process',
      panels: [
        exporterGraph(
          'Scrape duration',
          'How long Prometheus’s scrapes took.',
          { unit: 's' },
          processMetric('scrape_duration_seconds'),
        ),
        exporterGraph(
          'Scrape size',
          'Samples of each scrape: one for each series.',
          integerUnit,
          processMetric('scrape_samples_scraped'),
        ),
        exporterGraph(
          'CPU',
          'Seconds of CPU time a second: 1 is a whole core. They are counted in whole seconds, so little use shows as spikes.',
          { unit: 'none', decimals: 3 },
          `rate(${processMetric('process_cpu_seconds_total')}[$__rate_interval])`,
          { softMax: 0.1 },
        ),
        exporterGraph('Memory', 'Resident memory.', { unit: 'bytes' }, processMetric('process_resident_memory_bytes')),
        exporterGraph(
          'File descriptors',
          'Open file descriptors, connections included.',
          integerUnit,
          processMetric('process_open_fds'),
        ),
        exporterGraph('Threads', 'Threads of the process.', integerUnit, processMetric('process_threads')),
        table(
          {
            title: 'Exporters',
            description:
              'Each process: its version, its share of the accounts, when it started and when it last took its configuration.',
            size: [24, 7],
            noValue: noTargetText,
          },
          [
            { field: 'job', heading: 'Job' },
            { field: 'instance', heading: 'Instance' },
            { field: 'version', heading: 'Version', settings: { 'custom.width': 100 } },
            { field: 'revision', heading: 'Revision' },
            { field: 'rustc', heading: 'Compiler' },
            { field: 'Value #B', heading: 'Shard', settings: { 'custom.width': 80, unit: 'none', decimals: 0 } },
            { field: 'Value #C', heading: 'of', settings: { 'custom.width': 60, unit: 'none', decimals: 0 } },
            { field: 'Value #D', heading: 'Started', settings: { 'custom.width': 180, unit: 'dateTimeAsIso' } },
            {
              field: 'Value #E',
              heading: 'Configuration read',
              settings: { 'custom.width': 180, unit: 'dateTimeAsIso' },
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
    },
  ],
});
