/** The dashboard for SREs: whether the other dashboards have complete and recent data, and what the exporter uses. */
import { buildDashboard } from './kit/dashboard';
import {
  fixedColor,
  integerUnit,
  noAccountText,
  noTargetText,
  stat,
  stateTimeline,
  table,
  timeSeries,
  valueTexts,
} from './kit/panels';
import {
  accountMetric,
  deduplicated,
  gauge,
  highest,
  increase,
  pollingInstance,
  processMetric,
  sum,
} from './kit/queries';
import { account, datasource, instance, job } from './kit/variables';
import { processes } from './processes';

const up = gauge('tryvox_up');
const interval = gauge('tryvox_poll_interval_seconds');
/** The age of the data in poll intervals. */
const age = `(time() - ${gauge('tryvox_last_success_timestamp_seconds')}) / ${interval}`;
/** The duration of the last poll as a share of the poll interval. */
const durationShare = `${gauge('tryvox_last_poll_duration_seconds')} / ${interval}`;
/** How many numbers the API reported but did not list. */
const missing = `${gauge('tryvox_reported_numbers')} - ${gauge('tryvox_listed_numbers')} - ${gauge('tryvox_invalid_records')}`;

const polls = sum([], increase('$__rate_interval', 'tryvox_polls_total'));
/** Every failed poll has exactly one reason. */
const failedPolls = sum([], increase('$__rate_interval', 'tryvox_poll_errors_total'));

const quantile = (q: number) =>
  `histogram_quantile(${q}, ${sum(['le'], `rate(${accountMetric('tryvox_api_request_duration_seconds_bucket')}[$__rate_interval])`)})`;

const upOrDown = [valueTexts({ 0: { text: 'down', color: 'red' }, 1: { text: 'up', color: 'green' } })];
const okOrFailed = [valueTexts({ 0: { text: 'failed', color: 'red' }, 1: { text: 'ok', color: 'green' } })];

export const exporter = buildDashboard({
  uid: 'tryvox-exporter',
  title: 'TryVox / Exporter',
  description:
    'Health of tryvox-exporter: polls of the accounts, age of their data, requests to the TryVox API, and resource usage.',
  from: 'now-6h',
  refresh: '30s',
  variables: [datasource, job, instance, account],
  sections: [
    {
      title: 'Overview',
      panels: [
        stat(
          {
            title: 'Accounts',
            description:
              'Count of accounts that the exporters poll. If it is lower than expected, check the configuration and "Missing shards". TryvoxAccountMissing fires if the exporter of an account is gone and no other polls it.',
            noValue: noAccountText,
            size: [4, 4],
            ...integerUnit,
          },
          { expr: `count(${up})` },
        ),
        stat(
          {
            title: 'Accounts down',
            description:
              'Count of accounts whose last poll failed. Red from 1: see "Poll errors by reason"; the log and the status page of the exporter show the error. TryvoxPollFailing fires if the polls of an account keep failing.',
            noValue: noAccountText,
            size: [4, 4],
            ...integerUnit,
            thresholds: ['green', [1, 'red']],
          },
          { expr: `count(${up} == 0) or 0 * count(${up})` },
        ),
        stat(
          {
            title: 'Data age (intervals)',
            description:
              'Time since the last successful poll of the account for which it is longest, in poll intervals. Orange from 2, red from 3, when the inventory of the account is stale, its series end and TryvoxDataStale fires (unless --poll.stale-after is set). See "Poll errors by reason".',
            noValue: 'No successful poll yet',
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
            description:
              'Percentage of the targets of the job that Prometheus scrapes successfully. Red below 100%, and TryvoxTargetDown fires: see the page "Target health" of Prometheus for the error.',
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
            title: 'Configuration reload',
            description:
              'Whether the last load or reload of the configuration succeeded on every exporter. If it failed, the exporter keeps the previous configuration, its log shows the error, and TryvoxConfigReloadFailed fires.',
            size: [4, 4],
            unit: 'bool_yes_no',
            noValue: noTargetText,
            mappings: okOrFailed,
            thresholds: ['red', [1, 'green']],
          },
          { expr: `min(${processMetric('tryvox_exporter_config_last_reload_successful')})` },
        ),
        stat(
          {
            title: 'Missing shards',
            description:
              'Count of shards (--total-shards) that no scraped exporter serves. Red from 1, and TryvoxShardMissing fires: there are no metrics of their accounts. Start the missing exporters or correct --shard.',
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
            title: 'Poll status by account',
            description:
              'Whether the last poll of an account succeeded (up) or failed (down), for the 30 accounts that were down for the longest time. See "Poll errors by reason" for the cause.',
            noValue: noAccountText,
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
            title: 'Data age by account, in poll intervals',
            description:
              'Time since the last successful poll, in poll intervals; the 20 accounts with the oldest data. Up to about 1 is normal. From 3 (dashed line) the inventory is stale and its series end (unless --poll.stale-after is set).',
            noValue: 'No successful poll yet',
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
            title: 'Poll duration, percentage of the poll interval',
            description:
              'Duration of the last poll as a percentage of the poll interval; the 20 slowest accounts. Above 80% (dashed line) TryvoxPollSlow fires: raise --poll.interval, --tryvox.concurrency or --tryvox.rate-limit.',
            noValue: 'No poll has ended yet',
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
            title: 'Last poll by account',
            description:
              'Result, time, duration and pages of the last poll, and numbers of the last valid listing, by account. Missing: numbers that the API reports in its total but does not list. Invalid: records that could not be used. Accounts that are down come first; their status page shows the error.',
            noValue: noAccountText,
            size: [24, 9],
          },
          [
            { field: 'account', heading: 'Account', settings: { 'custom.minWidth': 130 } },
            { field: 'instance', heading: 'Exporter', settings: { 'custom.minWidth': 160 } },
            {
              field: 'Value #A',
              heading: 'Up',
              settings: { 'custom.width': 60, mappings: upOrDown, 'custom.cellOptions': { type: 'color-text' } },
            },
            { field: 'Value #B', heading: 'Last poll', settings: { 'custom.width': 165, unit: 'dateTimeAsIso' } },
            {
              field: 'Value #C',
              heading: 'Last successful poll',
              settings: { 'custom.width': 165, unit: 'dateTimeAsIso' },
            },
            { field: 'Value #D', heading: 'Duration', settings: { 'custom.width': 90, unit: 's', decimals: 2 } },
            { field: 'Value #E', heading: 'Pages', settings: { 'custom.width': 65, unit: 'locale', decimals: 0 } },
            { field: 'Value #F', heading: 'Interval', settings: { 'custom.width': 80, unit: 's', decimals: 0 } },
            { field: 'Value #G', heading: 'Numbers', settings: { 'custom.width': 90, unit: 'locale', decimals: 0 } },
            { field: 'Value #H', heading: 'Missing', settings: { 'custom.width': 80, unit: 'locale', decimals: 0 } },
            { field: 'Value #I', heading: 'Invalid', settings: { 'custom.width': 75, unit: 'locale', decimals: 0 } },
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
          // Adds the column `instance`.
          { expr: pollingInstance },
        ),
      ],
    },
    {
      title: 'TryVox API',
      panels: [
        timeSeries(
          {
            title: 'Requests per second by status code',
            description:
              'Rate of requests to the API by HTTP status code, stacked. The code error means that there was no complete response. For 429 lower --tryvox.rate-limit; for 401 and 403 check the API key.',
            noValue: noAccountText,
            size: [12, 8],
            unit: 'reqps',
            overrides: [fixedColor('200', 'green'), fixedColor('429', 'orange'), fixedColor('error', 'red')],
          },
          { stacked: true },
          {
            expr: sum(['code'], `rate(${accountMetric('tryvox_api_requests_total')}[$__rate_interval])`),
            legend: '{{code}}',
          },
        ),
        timeSeries(
          {
            title: 'Request duration',
            description:
              'Duration of requests to the API, including the response body: median, 90th and 99th percentile. If it approaches --tryvox.timeout, requests fail: lower --tryvox.concurrency or raise the timeout.',
            size: [12, 8],
            unit: 's',
            noValue: 'No requests in this time range',
          },
          {},
          { expr: quantile(0.5), legend: 'p50' },
          { expr: quantile(0.9), legend: 'p90' },
          { expr: quantile(0.99), legend: 'p99' },
        ),
        timeSeries(
          {
            title: 'Retries by reason',
            description:
              'Count of retried requests by the reason of the failure, per step of the graph. A few are normal; if there are many, see "Requests per second by status code".',
            size: [8, 8],
            noValue: 'No retries in this time range',
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
            description:
              'Count of polls that succeeded and failed, per step of the graph. For failed polls see "Poll errors by reason".',
            noValue: noAccountText,
            size: [8, 8],
            ...integerUnit,
            interval: '5m',
            overrides: [fixedColor('succeeded', 'green'), fixedColor('failed', 'red')],
          },
          { bars: true, stacked: true },
          { expr: `clamp_min(${polls} - ${failedPolls}, 0)`, legend: 'succeeded' },
          { expr: failedPolls, legend: 'failed' },
        ),
        timeSeries(
          {
            title: 'Poll errors by reason',
            description:
              'Count of failed polls by reason, per step of the graph. The log and the status page of the exporter show the error; the runbooks of TryvoxKeyRefused, TryvoxRateLimited and TryvoxPollFailing say what to do.',
            size: [8, 8],
            noValue: 'No failed polls in this time range',
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
              'Count of numbers that the API reports in its total but does not list; the 20 accounts with the most. Up to --poll.max-discrepancy the listing is valid all the same. If it stays above 0, counts and fees are too low, and TryvoxListingInconsistent fires: report it to TryVox.',
            size: [8, 8],
            ...integerUnit,
          },
          { softMax: 1 },
          { expr: highest(20, missing), legend: '{{account}}' },
        ),
        timeSeries(
          {
            title: 'Invalid records',
            description:
              'Count of records of the last valid listing that could not be used; the 20 accounts with the most. They are not included in counts and fees. The log of the exporter shows up to five per poll: report them to TryVox. If they remain, TryvoxInvalidRecords fires.',
            size: [8, 8],
            ...integerUnit,
          },
          { softMax: 1 },
          { expr: highest(20, gauge('tryvox_invalid_records')), legend: '{{account}}' },
        ),
        timeSeries(
          {
            title: 'Unreadable fields',
            description:
              'Count of numbers of the last valid listings with an optional field that could not be read, by field. The field counts as absent: an unreadable trunk_id makes a number unassigned, an unreadable updated_at hides a long suspension. Compare the JSON of the API with its documentation, and report it to TryVox. If it stays above 0, TryvoxUnreadableFields fires.',
            size: [8, 8],
            ...integerUnit,
          },
          { softMax: 1 },
          { expr: sum(['field'], gauge('tryvox_unreadable_fields')), legend: '{{field}}' },
        ),
      ],
    },
    processes,
  ],
});
