/** The dashboard for the telecom team: the numbers by country, type and status, and their changes. */
import { buildDashboard } from './kit/dashboard';
import {
  barGauge,
  fixedColor,
  geomap,
  ignoresCountry,
  integerUnit,
  noAccountText,
  noOwnersText,
  requires,
  stat,
  statusColors,
  timeSeries,
} from './kit/panels';
import {
  countryMatcher,
  bySelectedOwner,
  gauge,
  highest,
  increase,
  sum,
  suspendedMatcher,
  withEmptyLabelAs,
} from './kit/queries';
import { account, country, datasource, e164, instance, job, owner } from './kit/variables';
import { suspendedNumbers, watchedNumbers } from './single-numbers';

const DAY = 86_400;

const numberCount = (...matchers: string[]) => gauge('tryvox_numbers', countryMatcher, ...matchers);

/** The time since the least recent update of any number with this status, in seconds. */
const timeSinceOldestUpdate = (status: string) =>
  `time() - min(${gauge('tryvox_oldest_update_timestamp_seconds', `status="${status}"`)})`;

/** The increase of a counter of changes within the dashboard's time range. */
const changes = (family: string, ...matchers: string[]) => sum([], increase('$__range', family, ...matchers));

/** Numbers by owner. */
const ownerNumbers = (...matchers: string[]) =>
  bySelectedOwner(sum(['owner'], gauge('tryvox_owner_numbers', ...matchers)));

export const numbers = buildDashboard({
  uid: 'tryvox-numbers',
  title: 'TryVox / Numbers',
  description:
    'Phone numbers rented from TryVox by status, country, type, capability and assignment, and their changes.',
  from: 'now-24h',
  refresh: '1m',
  variables: [datasource, job, instance, account, country, owner, e164],
  sections: [
    watchedNumbers,
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
    suspendedNumbers,
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
