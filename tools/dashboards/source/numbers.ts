/** The dashboard for the telecom team: the numbers by country, type and status, and their changes. */
import { buildDashboard } from './kit/dashboard';
import { barGauge, fixedColour, geomap, stat, statusColours, table, timeSeries, valueTexts } from './kit/panels';
import { countryMatcher, gauge, highest, increase, sum, withEmptyLabelAs } from './kit/queries';
import { account, country, datasource, instance, job } from './kit/variables';

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
  `${gauge(family)} * on (job, account, e164) group_left (country, type, region, trunk_id) ${gauge('tryvox_number_info', suspendedMatcher, countryMatcher)}`;

const integerUnit = { unit: 'locale', decimals: 0 };
/** The text of an empty panel whose metric is optional. */
const requires = (option: string) => `no data: needs ${option}`;

export const numbers = buildDashboard({
  uid: 'tryvox-numbers',
  title: 'TryVox / Numbers',
  description: 'The phone numbers rented from TryVox: how many there are, where, in what state, and what changed.',
  from: 'now-24h',
  refresh: '1m',
  variables: [datasource, job, instance, account, country],
  sections: [
    {
      title: 'Now',
      panels: [
        stat(
          { title: 'Numbers', description: 'All numbers of the last good listings.', size: [4, 4], ...integerUnit },
          { expr: sum([], numberCount()) },
        ),
        stat(
          { title: 'Active', description: 'Numbers that take calls.', size: [4, 4], ...integerUnit },
          { expr: sum([], numberCount('status="active"')) },
        ),
        stat(
          { title: 'Pending', description: 'Numbers whose purchase is being processed.', size: [4, 4], ...integerUnit },
          { expr: sum([], numberCount('status="pending"')) },
        ),
        stat(
          {
            title: 'Suspended',
            description: 'Numbers that are suspended: calls to them fail, and they cost their fee all the same.',
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
              'Suspended numbers as a share of all. Orange from 2 %, red from 10 %: so many suspended within an hour fire TryvoxMassSuspension.',
            size: [4, 4],
            unit: 'percentunit',
            decimals: 1,
            thresholds: ['green', [0.02, 'orange'], [0.1, 'red']],
          },
          { expr: `${sum([], numberCount(suspendedMatcher))} / ${sum([], numberCount())}` },
        ),
        stat(
          {
            title: 'Leading nowhere',
            description:
              'Numbers with neither a trunk nor an application: they cost their fee and do nothing. Of all countries.',
            size: [4, 4],
            ...integerUnit,
            noValue: requires('--collector.assignment'),
          },
          { expr: sum([], gauge('tryvox_assignment_numbers', 'assignment="none"')) },
        ),
        stat(
          {
            title: 'Longest pending',
            description:
              'Since when the oldest purchase that is still pending waits. Red from a day on, when TryvoxPendingForLong fires. Of all countries.',
            size: [4, 4],
            unit: 's',
            decimals: 1,
            noValue: 'none is pending',
            thresholds: ['green', [DAY / 2, 'orange'], [DAY, 'red']],
          },
          { expr: timeSinceOldestUpdate('pending') },
        ),
        stat(
          {
            title: 'Longest suspended',
            description:
              'How long the number is suspended that was suspended first. Red from a week on, when TryvoxSuspendedForLong fires. Of all countries.',
            size: [4, 4],
            unit: 's',
            decimals: 1,
            noValue: 'none is suspended',
            thresholds: ['green', [DAY, 'orange'], [7 * DAY, 'red']],
          },
          { expr: timeSinceOldestUpdate('suspended') },
        ),
        stat(
          {
            title: 'Newest number',
            description: 'How long ago the newest number was bought. Of all countries.',
            size: [4, 4],
            unit: 's',
            decimals: 1,
            noValue: requires('--collector.lifecycle and a number'),
          },
          { expr: `time() - max(${gauge('tryvox_newest_creation_timestamp_seconds')})` },
        ),
        stat(
          {
            title: 'Bought',
            description: 'Numbers that came within the time range. Of all countries.',
            size: [4, 4],
            ...integerUnit,
          },
          { expr: changes('tryvox_numbers_added_total') },
        ),
        stat(
          {
            title: 'Released',
            description: 'Numbers that went within the time range. Of all countries.',
            size: [4, 4],
            ...integerUnit,
          },
          { expr: changes('tryvox_numbers_removed_total') },
        ),
        stat(
          {
            title: 'Newly suspended',
            description: 'Numbers that were suspended within the time range. Of all countries.',
            size: [4, 4],
            ...integerUnit,
            thresholds: ['green', [1, 'orange']],
          },
          { expr: changes('tryvox_number_status_changes_total', 'to="suspended"') },
        ),
      ],
    },
    {
      title: 'By status',
      panels: [
        timeSeries(
          {
            title: 'Numbers by status',
            description: 'All numbers, one status upon the other.',
            size: [12, 9],
            ...integerUnit,
            overrides: statusColours,
          },
          { stacked: true },
          { expr: sum(['status'], numberCount()), legend: '{{status}}' },
        ),
        timeSeries(
          {
            title: 'Suspended numbers by country',
            description: 'Where numbers are suspended: the 20 countries with the most, one upon the other.',
            size: [12, 9],
            ...integerUnit,
          },
          { stacked: true },
          { expr: highest(20, sum(['country'], numberCount(suspendedMatcher))), legend: '{{country}}' },
        ),
      ],
    },
    {
      title: 'By country, type and use',
      panels: [
        geomap(
          {
            title: 'Where the numbers are',
            description: 'A circle on each country, by its ISO 3166-1 code; the more numbers, the larger.',
            size: [12, 12],
            ...integerUnit,
          },
          { expr: sum(['country'], numberCount()) },
        ),
        barGauge(
          {
            title: 'By country',
            description: 'The 20 countries with the most numbers.',
            size: [6, 12],
            ...integerUnit,
          },
          { expr: `sort_desc(topk(20, ${sum(['country'], numberCount())}))`, legend: '{{country}}' },
        ),
        barGauge(
          {
            title: 'Suspended share by country',
            description:
              'Suspended numbers as a share of the country’s, the 20 highest. Orange from 2 %, red from 10 %.',
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
          { title: 'By type', description: 'Local, toll-free and mobile numbers.', size: [8, 7], ...integerUnit },
          { expr: `sort_desc(${sum(['type'], numberCount())})`, legend: '{{type}}' },
        ),
        barGauge(
          {
            title: 'Capability coverage',
            description:
              'The share of the active numbers that have a capability; a number can have several. Of all countries.',
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
            title: 'Assignment',
            description: 'What the numbers lead to: a trunk, an application, both, or nothing. Of all countries.',
            size: [8, 7],
            ...integerUnit,
            noValue: requires('--collector.assignment'),
            overrides: [fixedColour('none', 'orange')],
          },
          { expr: `sort_desc(${sum(['assignment'], gauge('tryvox_assignment_numbers'))})`, legend: '{{assignment}}' },
        ),
      ],
    },
    {
      title: 'Changes',
      panels: [
        timeSeries(
          {
            title: 'Changes per day',
            description:
              'Numbers bought, released, moved to another status, and repriced, day by day, in two weeks. Of all countries.',
            size: [12, 9],
            ...integerUnit,
            range: '14d',
            interval: '1d',
            overrides: [
              fixedColour('bought', 'green'),
              fixedColour('released', 'red'),
              fixedColour('status changed', 'orange'),
              fixedColour('repriced', 'purple'),
            ],
          },
          { bars: true, stacked: true },
          { expr: sum([], increase('$__rate_interval', 'tryvox_numbers_added_total')), legend: 'bought' },
          { expr: sum([], increase('$__rate_interval', 'tryvox_numbers_removed_total')), legend: 'released' },
          {
            expr: sum([], increase('$__rate_interval', 'tryvox_number_status_changes_total')),
            legend: 'status changed',
          },
          { expr: sum([], increase('$__rate_interval', 'tryvox_number_fee_changes_total')), legend: 'repriced' },
        ),
        timeSeries(
          {
            title: 'Status transitions',
            description: 'Numbers that went from one status to another, step by step. Of all countries.',
            size: [12, 9],
            ...integerUnit,
            noValue: 'no number changed its status in this time',
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
            title: 'Suspended numbers',
            description:
              'Each suspended number, as far as --collector.number.limit allows, since when it is so, and what it costs a month in its currency.',
            size: [20, 11],
            noValue: 'no number is suspended, or --collector.number.statuses leaves them out',
          },
          [
            { field: 'account', heading: 'Account', settings: { 'custom.minWidth': 100 } },
            { field: 'e164', heading: 'Number', settings: { 'custom.minWidth': 100 } },
            { field: 'country', heading: 'Country', settings: { 'custom.width': 75 } },
            { field: 'region', heading: 'Region', settings: { 'custom.minWidth': 100 } },
            { field: 'type', heading: 'Type', settings: { 'custom.width': 90 } },
            {
              field: 'trunk_id',
              heading: 'Trunk',
              settings: { 'custom.width': 90, mappings: [valueTexts({ '': { text: 'none' } })] },
            },
            { field: 'Value #A', heading: 'Suspended since', settings: { unit: 'dateTimeAsIso', 'custom.width': 165 } },
            {
              field: 'Value #B',
              heading: 'Monthly fee',
              settings: { unit: 'locale', decimals: 3, 'custom.width': 105 },
            },
            { field: 'currency', heading: 'Currency', settings: { 'custom.width': 85 } },
          ],
          { column: 'Suspended since', descending: false },
          { expr: `1000 * ${perSuspendedNumber('tryvox_number_updated_timestamp_seconds')}` },
          { expr: perSuspendedNumber('tryvox_number_monthly_fee') },
        ),
        barGauge(
          {
            title: 'Not in the table',
            description:
              'Numbers that --collector.number.limit leaves without series of their own, by account; raise it to see them.',
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
      title: 'By region, trunk and application',
      collapsed: true,
      panels: [
        barGauge(
          {
            title: 'By region',
            description: 'The 12 regions with the most numbers.',
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
            title: 'By trunk',
            description: 'The 12 trunks with the most numbers. Of all countries.',
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
            title: 'By application',
            description: 'The 12 applications with the most numbers. Of all countries.',
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
