/** The rows of the dashboard of numbers that show single numbers: those that are watched, and those that are suspended. */
import type { Section } from './kit/dashboard';
import {
  barGauge,
  hiddenColumn,
  ignoresCountry,
  integerUnit,
  requires,
  stat,
  stateTimeline,
  table,
  valueTexts,
} from './kit/panels';
import {
  accountMetric,
  countryMatcher,
  deduplicated,
  gauge,
  numberMatcher,
  pollingInstance,
  sum,
  suspendedMatcher,
} from './kit/queries';

/** A per-number metric of the suspended numbers, with their country, type, region and trunk. */
const perSuspendedNumber = (family: string) =>
  `${gauge(family, numberMatcher)} * on (job, account, e164) group_left (country, type, region, trunk_id) ${gauge('tryvox_number_info', suspendedMatcher, countryMatcher, numberMatcher)}`;

const watchedStatus = (status: string) => gauge('tryvox_watched_number_status', `status="${status}"`, numberMatcher);
const watchedAssigned = gauge('tryvox_watched_number_assigned', numberMatcher);
/** The code of the status of each watched number; 0 is an undocumented status. */
const watchedStatusCode = `max by (account, name, e164) (${watchedStatus('active')} or 2 * ${watchedStatus('pending')} or 3 * ${watchedStatus('suspended')} or 4 * ${watchedStatus('missing')})`;
const watchedStatusTexts = [
  valueTexts({
    0: { text: 'other', color: 'purple' },
    1: { text: 'active', color: 'green' },
    2: { text: 'pending', color: 'blue' },
    3: { text: 'suspended', color: 'red' },
    4: { text: 'missing', color: 'dark-red' },
  }),
];
const noWatchedText = requires('watch in the configuration file');

export const watchedNumbers: Section = {
  title: 'Watched numbers',
  panels: [
    stat(
      {
        title: 'Watched, not active',
        description: `Count of watched numbers whose status is not active, for example suspended or missing. Red from 1: calls to them fail, and after two minutes TryvoxWatchedNumberDown fires. See "Status of watched numbers" for which numbers those are, and ask TryVox for the reason. ${ignoresCountry}`,
        size: [4, 4],
        ...integerUnit,
        noValue: noWatchedText,
        thresholds: ['green', [1, 'red']],
      },
      { expr: `count(${watchedStatus('active')}) - sum(${watchedStatus('active')})` },
    ),
    stateTimeline(
      {
        title: 'Status of watched numbers',
        description: `Status of the 30 watched numbers that were active for the least time. Missing means that the account does not have the number. While a listing is incomplete, a number that is not in it keeps its status. ${ignoresCountry}`,
        noValue: noWatchedText,
        size: [20, 8],
        unit: 'none',
        mappings: watchedStatusTexts,
        thresholds: ['purple', [1, 'green'], [2, 'blue'], [3, 'red'], [4, 'dark-red']],
      },
      {
        expr: `${watchedStatusCode} and on (account, name, e164) bottomk(30, ${deduplicated(`avg_over_time(${accountMetric('tryvox_watched_number_status', 'status="active"', numberMatcher)}[$__range] @ end())`)})`,
        legend: '{{name}} {{e164}} ({{account}})',
      },
    ),
    stat(
      {
        title: 'Watched, unassigned',
        description: `Count of watched numbers that have no trunk and no application, or that are missing. Red from 1: calls to them are not delivered; assign them. TryvoxWatchedNumberUnassigned fires after ten minutes, unless the number is missing. ${ignoresCountry}`,
        size: [4, 4],
        ...integerUnit,
        noValue: noWatchedText,
        thresholds: ['green', [1, 'red']],
      },
      {
        expr: `count(${watchedAssigned}) - sum(${watchedAssigned})`,
      },
    ),
  ],
};

export const suspendedNumbers: Section = {
  title: 'Suspended numbers',
  panels: [
    table(
      {
        title: 'List of suspended numbers',
        description:
          'Suspended numbers with the time of their last update, normally the suspension, the time of their creation, normally the purchase, and their monthly fee in units of the currency. Have each number reactivated or release it. Limited to --collector.number.limit numbers per account, the least recently updated.',
        size: [24, 11],
        noValue: 'No suspended numbers, or --collector.number.statuses excludes them',
      },
      [
        { field: 'account', heading: 'Account', settings: { 'custom.minWidth': 120 } },
        { field: 'e164', heading: 'Number', settings: { 'custom.width': 135 } },
        { field: 'country', heading: 'Country', settings: { 'custom.width': 80 } },
        { field: 'region', heading: 'Region', settings: { 'custom.minWidth': 100 } },
        { field: 'type', heading: 'Type', settings: { 'custom.width': 80 } },
        {
          field: 'trunk_id',
          heading: 'Trunk',
          settings: { 'custom.width': 90, mappings: [valueTexts({ '': { text: 'none' } })] },
        },
        { field: 'Value #A', heading: 'Suspended since', settings: { unit: 'dateTimeAsIso', 'custom.width': 170 } },
        { field: 'Value #C', heading: 'Created', settings: { unit: 'dateTimeAsIso', 'custom.width': 170 } },
        {
          field: 'Value #B',
          heading: 'Monthly fee',
          settings: { unit: 'locale', decimals: 3, 'custom.width': 110 },
        },
        { field: 'currency', heading: 'Currency', settings: { 'custom.width': 85 } },
        hiddenColumn('instance', 'Exporter'),
      ],
      { column: 'Suspended since', descending: false },
      {
        expr: `1000 * ${perSuspendedNumber('tryvox_number_updated_timestamp_seconds')} * on (job, account) group_left (instance) (${pollingInstance})`,
      },
      { expr: perSuspendedNumber('tryvox_number_monthly_fee') },
      { expr: `1000 * ${perSuspendedNumber('tryvox_number_created_timestamp_seconds')}` },
    ),
    barGauge(
      {
        title: 'Numbers not shown',
        description:
          'Count of numbers that have no per-number series because of --collector.number.limit, by account. Orange from 1: the table is incomplete. Raise the limit to see them.',
        size: [24, 6],
        ...integerUnit,
        noValue: requires('--collector.number.statuses'),
        thresholds: ['green', [1, 'orange']],
      },
      {
        expr: `sort_desc(topk(20, ${sum(['account'], gauge('tryvox_number_series_truncated'))}))`,
        legend: '{{account}}',
      },
    ),
  ],
};
