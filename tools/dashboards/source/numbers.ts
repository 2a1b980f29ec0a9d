/** The dashboard for the telecom team: the numbers by country, type and status, and their changes. */
import { buildDashboard } from './kit/dashboard';
import {
  barGauge,
  fixedColor,
  geomap,
  hiddenColumn,
  noAccountText,
  noOwnersText,
  requires,
  stat,
  stateTimeline,
  statusColors,
  table,
  timeSeries,
  valueTexts,
} from './kit/panels';
import {
  accountMetric,
  countryMatcher,
  deduplicated,
  bySelectedOwner,
  gauge,
  highest,
  increase,
  numberMatcher,
  pollingInstance,
  sum,
  withEmptyLabelAs,
} from './kit/queries';
import { account, country, datasource, e164, instance, job, owner } from './kit/variables';

const DAY = 86_400;

const numberCount = (...matchers: string[]) => gauge('tryvox_numbers', countryMatcher, ...matchers);
const suspendedMatcher = 'status="suspended"';

/** The time since the least recent update of any number with this status, in seconds. */
const timeSinceOldestUpdate = (status: string) =>
  `time() - min(${gauge('tryvox_oldest_update_timestamp_seconds', `status="${status}"`)})`;

/** The increase of a counter of changes within the dashboard's time range. */
const changes = (family: string, ...matchers: string[]) => sum([], increase('$__range', family, ...matchers));

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

/** Numbers by owner. */
const ownerNumbers = (...matchers: string[]) =>
  bySelectedOwner(sum(['owner'], gauge('tryvox_owner_numbers', ...matchers)));

const integerUnit = { unit: 'locale', decimals: 0 };
/** A note for panels whose metric has no `country` label. */
const ignoresCountry = 'Ignores the Country variable.';

export const numbers = buildDashboard({
  uid: 'tryvox-numbers',
  title: 'TryVox / Numbers',
  description:
    'Phone numbers rented from TryVox by status, country, type, capability and assignment, and their changes.',
  from: 'now-24h',
  refresh: '1m',
  variables: [datasource, job, instance, account, country, owner, e164],
  sections: [
    {
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
    },
    {
      title: 'Overview',
      panels: [
        stat(
          {
            title: 'Numbers',
            description:
              'Count of all numbers in the last valid listing of each account. An account without a valid listing, or with a stale one, is not included: see the dashboard "TryVox / Exporter".',
            size: [4, 4],
            ...integerUnit,
          },
          { expr: sum([], numberCount()) },
        ),
        stat(
          { title: 'Active numbers', description: 'Count of numbers in status active.', size: [4, 4], ...integerUnit },
          { expr: sum([], numberCount('status="active"')) },
        ),
        stat(
          {
            title: 'Pending numbers',
            description: 'Count of numbers whose purchase is being processed.',
            size: [4, 4],
            ...integerUnit,
          },
          { expr: sum([], numberCount('status="pending"')) },
        ),
        stat(
          {
            title: 'Suspended numbers',
            description:
              'Count of suspended numbers. Calls to them fail, but they still have a monthly fee. Orange from 1: see the table "List of suspended numbers", and ask TryVox for the reason.',
            size: [4, 4],
            ...integerUnit,
            thresholds: ['green', [1, 'orange']],
          },
          { expr: sum([], numberCount(suspendedMatcher)) },
        ),
        stat(
          {
            title: 'Suspended share',
            description:
              'Suspended numbers as a percentage of all numbers. Orange from 2%, red from 10%. TryvoxMassSuspension fires if more than that percentage of an account is suspended within one hour: check the billing of the account.',
            size: [4, 4],
            unit: 'percentunit',
            decimals: 1,
            thresholds: ['green', [0.02, 'orange'], [0.1, 'red']],
          },
          { expr: `${sum([], numberCount(suspendedMatcher))} / ${sum([], numberCount())}` },
        ),
        stat(
          {
            title: 'Unassigned numbers',
            description: `Count of numbers that have no trunk and no application. They have a monthly fee but handle no calls: assign or release them. ${ignoresCountry}`,
            size: [4, 4],
            ...integerUnit,
            noValue: requires('--collector.assignment'),
          },
          { expr: sum([], gauge('tryvox_assignment_numbers', 'assignment="none"')) },
        ),
        stat(
          {
            title: 'Longest pending',
            description: `Time since the last update of the pending number that was updated least recently. Orange from 12 hours, red from 1 day, when TryvoxPendingForLong fires: ask TryVox about the purchase. ${ignoresCountry}`,
            size: [4, 4],
            unit: 's',
            decimals: 1,
            noValue: 'No pending numbers',
            thresholds: ['green', [DAY / 2, 'orange'], [DAY, 'red']],
          },
          { expr: timeSinceOldestUpdate('pending') },
        ),
        stat(
          {
            title: 'Longest suspended',
            description: `Time since the last update of the suspended number that was updated least recently. Orange from 1 day, red from 7 days, when TryvoxSuspendedForLong fires: have the number reactivated or release it. ${ignoresCountry}`,
            size: [4, 4],
            unit: 's',
            decimals: 1,
            noValue: 'No suspended numbers',
            thresholds: ['green', [DAY, 'orange'], [7 * DAY, 'red']],
          },
          { expr: timeSinceOldestUpdate('suspended') },
        ),
        stat(
          {
            title: 'Age of newest number',
            description: `Time since the creation of the most recently created number. ${ignoresCountry}`,
            size: [4, 4],
            unit: 's',
            decimals: 1,
            noValue: requires('--collector.lifecycle'),
          },
          { expr: `time() - max(${gauge('tryvox_newest_creation_timestamp_seconds')})` },
        ),
        stat(
          {
            title: 'Numbers added',
            description: `Count of numbers added to the listings within the time range, usually by a purchase. ${ignoresCountry}`,
            noValue: noAccountText,
            size: [4, 4],
            ...integerUnit,
          },
          { expr: changes('tryvox_numbers_added_total') },
        ),
        stat(
          {
            title: 'Numbers removed',
            description: `Count of numbers removed from the listings within the time range, usually by a release. If they were not released on purpose, ask TryVox. TryvoxNumbersRemoved fires if an account loses many within an hour. ${ignoresCountry}`,
            noValue: noAccountText,
            size: [4, 4],
            ...integerUnit,
          },
          { expr: changes('tryvox_numbers_removed_total') },
        ),
        stat(
          {
            title: 'Suspensions',
            description: `Count of changes to status suspended within the time range. Orange from 1, and TryvoxNumbersSuspended fires: see the table "List of suspended numbers". ${ignoresCountry}`,
            noValue: noAccountText,
            size: [4, 4],
            ...integerUnit,
            thresholds: ['green', [1, 'orange']],
          },
          { expr: changes('tryvox_number_status_changes_total', 'to="suspended"') },
        ),
      ],
    },
    {
      title: 'Status',
      panels: [
        timeSeries(
          {
            title: 'Numbers by status',
            description:
              'Count of numbers by status, stacked. A gap means that there was no valid listing, or that it was stale.',
            size: [12, 9],
            ...integerUnit,
            overrides: statusColors,
          },
          { stacked: true },
          { expr: sum(['status'], numberCount()), legend: '{{status}}' },
        ),
        timeSeries(
          {
            title: 'Suspended numbers by country',
            description:
              'Count of suspended numbers in the 20 countries that have the most, stacked. If only one country is affected, ask TryVox for the requirements of that country.',
            size: [12, 9],
            ...integerUnit,
          },
          { stacked: true },
          { expr: highest(20, sum(['country'], numberCount(suspendedMatcher))), legend: '{{country}}' },
        ),
      ],
    },
    {
      title: 'Country, type, capability and assignment',
      panels: [
        geomap(
          {
            title: 'Map of numbers',
            description: 'Count of numbers by country. The size of a circle shows the count.',
            size: [12, 12],
            ...integerUnit,
          },
          { expr: sum(['country'], numberCount()) },
        ),
        barGauge(
          {
            title: 'Numbers by country',
            description: 'Count of numbers in the 20 countries that have the most.',
            size: [6, 12],
            ...integerUnit,
          },
          { expr: `sort_desc(topk(20, ${sum(['country'], numberCount())}))`, legend: '{{country}}' },
        ),
        barGauge(
          {
            title: 'Suspended share by country',
            description:
              'Suspended numbers as a percentage of all numbers of a country; the 20 highest. Orange from 2%, red from 10%: ask TryVox for the requirements of that country.',
            size: [6, 12],
            unit: 'percentunit',
            decimals: 1,
            thresholds: ['green', [0.02, 'orange'], [0.1, 'red']],
          },
          {
            expr: `sort_desc(topk(20, ${sum(['country'], numberCount(suspendedMatcher))} / ${sum(['country'], numberCount())}))`,
            legend: '{{country}}',
          },
        ),
        barGauge(
          {
            title: 'Numbers by type',
            description: 'Count of numbers by type: local, toll_free or mobile.',
            size: [8, 7],
            ...integerUnit,
          },
          { expr: `sort_desc(${sum(['type'], numberCount())})`, legend: '{{type}}' },
        ),
        barGauge(
          {
            title: 'Active numbers by capability',
            description: `Percentage of active numbers that have a capability (voice, sms, mms). A number can have several capabilities. ${ignoresCountry}`,
            size: [8, 7],
            unit: 'percentunit',
            decimals: 1,
            noValue: requires('--collector.capability'),
          },
          {
            expr: `sort_desc(${sum(['capability'], gauge('tryvox_capability_numbers', 'status="active"'))} / on () group_left () ${sum([], gauge('tryvox_numbers', 'status="active"'))})`,
            legend: '{{capability}}',
          },
        ),
        barGauge(
          {
            title: 'Numbers by assignment',
            description: `Count of numbers that have a trunk, an application, both, or none of them. Those with none are unassigned (orange): assign or release them. ${ignoresCountry}`,
            size: [8, 7],
            ...integerUnit,
            noValue: requires('--collector.assignment'),
            overrides: [fixedColor('none', 'orange')],
          },
          { expr: `sort_desc(${sum(['assignment'], gauge('tryvox_assignment_numbers'))})`, legend: '{{assignment}}' },
        ),
      ],
    },
    {
      title: 'Owners',
      panels: [
        barGauge(
          {
            title: 'Numbers by owner',
            description: `Count of numbers of the 20 owners that have the most. A number belongs to the first owner in the configuration file that matches it. ${ignoresCountry}`,
            size: [12, 9],
            ...integerUnit,
            noValue: noOwnersText,
          },
          { expr: `sort_desc(topk(20, ${ownerNumbers()}))`, legend: '{{owner}}' },
        ),
        barGauge(
          {
            title: 'Suspended share by owner',
            description: `Suspended numbers as a percentage of all numbers of an owner; the 20 highest. Orange from 2%, red from 10%: inform the owner and have the numbers reactivated. ${ignoresCountry}`,
            size: [12, 9],
            unit: 'percentunit',
            decimals: 1,
            noValue: `${noOwnersText}, or no numbers are suspended`,
            thresholds: ['green', [0.02, 'orange'], [0.1, 'red']],
          },
          { expr: `sort_desc(topk(20, ${ownerNumbers(suspendedMatcher)} / ${ownerNumbers()}))`, legend: '{{owner}}' },
        ),
      ],
    },
    {
      title: 'Changes',
      panels: [
        timeSeries(
          {
            title: 'Changes per day',
            description: `Count of numbers added, removed, repriced and reassigned and of status changes, per day of the last 14 days. A day that stands out is usually a bulk order, a mass suspension or a new price list. ${ignoresCountry}`,
            noValue: noAccountText,
            size: [12, 9],
            ...integerUnit,
            range: '14d',
            interval: '1d',
            overrides: [
              fixedColor('added', 'green'),
              fixedColor('removed', 'red'),
              fixedColor('status changed', 'orange'),
              fixedColor('repriced', 'purple'),
              fixedColor('reassigned', 'blue'),
            ],
          },
          { bars: true, stacked: true },
          { expr: sum([], increase('$__rate_interval', 'tryvox_numbers_added_total')), legend: 'added' },
          { expr: sum([], increase('$__rate_interval', 'tryvox_numbers_removed_total')), legend: 'removed' },
          {
            expr: sum([], increase('$__rate_interval', 'tryvox_number_status_changes_total')),
            legend: 'status changed',
          },
          { expr: sum([], increase('$__rate_interval', 'tryvox_number_fee_changes_total')), legend: 'repriced' },
          {
            expr: sum([], increase('$__rate_interval', 'tryvox_number_assignment_changes_total')),
            legend: 'reassigned',
          },
        ),
        timeSeries(
          {
            title: 'Status changes',
            description: `Count of status changes by old and new status, per step of the graph. Check changes to suspended in the table "List of suspended numbers". ${ignoresCountry}`,
            size: [12, 9],
            ...integerUnit,
            noValue: 'No status changes in this time range',
            interval: '5m',
          },
          { bars: true, stacked: true },
          {
            expr: `${sum(['from', 'to'], increase('$__rate_interval', 'tryvox_number_status_changes_total'))} > 0`,
            legend: '{{from}} → {{to}}',
          },
        ),
      ],
    },
    {
      title: 'Suspended numbers',
      panels: [
        table(
          {
            title: 'List of suspended numbers',
            description:
              'Suspended numbers with the time of their last update, normally the suspension, the time of their creation, normally the purchase, and their monthly fee in units of the currency. Have each number reactivated or release it. Limited to --collector.number.limit numbers per account, the least recently updated.',
            size: [20, 11],
            noValue: 'No suspended numbers, or --collector.number.statuses excludes them',
          },
          [
            { field: 'account', heading: 'Account', settings: { 'custom.minWidth': 100 } },
            { field: 'e164', heading: 'Number', settings: { 'custom.width': 130 } },
            { field: 'country', heading: 'Country', settings: { 'custom.width': 70 } },
            { field: 'region', heading: 'Region', settings: { 'custom.minWidth': 100 } },
            { field: 'type', heading: 'Type', settings: { 'custom.width': 80 } },
            {
              field: 'trunk_id',
              heading: 'Trunk',
              settings: { 'custom.width': 80, mappings: [valueTexts({ '': { text: 'none' } })] },
            },
            { field: 'Value #A', heading: 'Suspended since', settings: { unit: 'dateTimeAsIso', 'custom.width': 150 } },
            { field: 'Value #C', heading: 'Created', settings: { unit: 'dateTimeAsIso', 'custom.width': 150 } },
            {
              field: 'Value #B',
              heading: 'Monthly fee',
              settings: { unit: 'locale', decimals: 3, 'custom.width': 95 },
            },
            { field: 'currency', heading: 'Currency', settings: { 'custom.width': 75 } },
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
            size: [4, 11],
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
    },
    {
      title: 'Region, trunk and application',
      collapsed: true,
      panels: [
        barGauge(
          {
            title: 'Numbers by region',
            description: 'Count of numbers in the 12 regions that have the most.',
            size: [8, 12],
            ...integerUnit,
            noValue: requires('--collector.region'),
          },
          {
            expr: `sort_desc(topk(12, ${withEmptyLabelAs('(no region)', 'region', sum(['country', 'region'], gauge('tryvox_region_numbers', countryMatcher)))}))`,
            legend: '{{country}} {{region}}',
          },
        ),
        barGauge(
          {
            title: 'Numbers by trunk',
            description: `Count of numbers on the 12 trunks that have the most. ${ignoresCountry}`,
            size: [8, 12],
            ...integerUnit,
            noValue: requires('--collector.trunk'),
          },
          {
            expr: `sort_desc(topk(12, ${withEmptyLabelAs('(no trunk)', 'trunk_id', sum(['trunk_id'], gauge('tryvox_trunk_numbers')))}))`,
            legend: '{{trunk_id}}',
          },
        ),
        barGauge(
          {
            title: 'Numbers by application',
            description: `Count of numbers of the 12 applications that have the most. ${ignoresCountry}`,
            size: [8, 12],
            ...integerUnit,
            noValue: requires('--collector.application'),
          },
          {
            expr: `sort_desc(topk(12, ${withEmptyLabelAs('(no application)', 'application_id', sum(['application_id'], gauge('tryvox_application_numbers')))}))`,
            legend: '{{application_id}}',
          },
        ),
      ],
    },
  ],
});
