/** The dashboard for finance: what the numbers cost in each currency, and why the cost changed. */
import { buildDashboard } from './kit/dashboard';
import { barGauge, type Column, fixedColour, stat, statusColours, table, timeSeries } from './kit/panels';
import { countryMatcher, currencyMatcher, gauge, highest, increase, offsetBy, sum } from './kit/queries';
import { account, country, currency, datasource, instance, job } from './kit/variables';

const monthlyFees = (...matchers: string[]) =>
  gauge('tryvox_monthly_fees', countryMatcher, currencyMatcher, ...matchers);
const unassignedFees = gauge('tryvox_assignment_monthly_fees', currencyMatcher, 'assignment="none"');
const numberCount = gauge('tryvox_numbers', countryMatcher);

/** The relative increase of the monthly fees since a time ago: 0.1 is 10 %. */
const relativeIncrease = (time: string) =>
  `${sum([], monthlyFees())} / (${sum([], offsetBy(monthlyFees(), time))} > 0) - 1`;

/** The months left in the year, including today and counting the rest of this month as a fraction. */
const monthsLeft = 'scalar(12 - month() + (days_in_month() - day_of_month() + 1) / days_in_month())';

/** An amount of money, never abbreviated. Its currency is in the title or in another column. */
const moneyUnit = { unit: 'locale', decimals: 2 };
const shareUnit = { unit: 'percentunit', decimals: 1 };

const amountColumn = (field: string, heading: string): Column => ({ field, heading, settings: moneyUnit });
/** A column with a change of an amount: increases are orange, decreases green. */
const changeColumn = (field: string, heading: string): Column => ({
  field,
  heading,
  settings: {
    ...moneyUnit,
    thresholds: {
      mode: 'absolute',
      steps: [
        { value: null, color: 'green' },
        { value: 0, color: 'text' },
        { value: 0.005, color: 'orange' },
      ],
    },
    'custom.cellOptions': { type: 'color-text' },
  },
});

/** The change of the monthly fees since a time ago, by currency. */
const changeSince = (time: string) =>
  `${sum(['currency'], monthlyFees())} - ${sum(['currency'], offsetBy(monthlyFees(), time))}`;

export const costs = buildDashboard({
  uid: 'tryvox-costs',
  title: 'TryVox / Costs',
  description:
    'What the phone numbers rented from TryVox cost. Amounts are in their own currency; currencies are never added together.',
  from: 'now-30d',
  refresh: '5m',
  variables: [datasource, job, instance, account, country, currency],
  sections: [
    {
      title: 'All currencies',
      panels: [
        table(
          {
            title: 'Monthly fees by currency',
            description:
              'What the numbers cost a month now, how much more or less that is than a day, a week and 30 days ago, and what the year will still cost at this rate.',
            size: [24, 6],
          },
          [
            { field: 'currency', heading: 'Currency' },
            amountColumn('Value #A', 'Monthly fees'),
            changeColumn('Value #B', 'against a day ago'),
            changeColumn('Value #C', 'against a week ago'),
            changeColumn('Value #D', 'against 30 days ago'),
            amountColumn('Value #E', 'Rest of the year'),
            amountColumn('Value #F', 'Setup fees, paid once'),
          ],
          { column: 'Monthly fees', descending: true },
          { expr: sum(['currency'], monthlyFees()) },
          { expr: changeSince('1d') },
          { expr: changeSince('1w') },
          { expr: changeSince('30d') },
          { expr: `${sum(['currency'], monthlyFees())} * ${monthsLeft}` },
          { expr: sum(['currency'], gauge('tryvox_setup_fees', countryMatcher, currencyMatcher)) },
        ),
        barGauge(
          {
            title: 'Budget used',
            description:
              'Monthly fees as a share of monthly_budget in the configuration, by account and currency. Red from 100 %, when TryvoxBudgetExceeded fires. Of all countries.',
            size: [12, 8],
            ...shareUnit,
            noValue: 'no data: no account has a monthly_budget',
            thresholds: ['green', [0.8, 'orange'], [1, 'red']],
          },
          {
            expr: `sort_desc(topk(20, ${sum(['account', 'currency'], gauge('tryvox_monthly_fees', currencyMatcher))} / (${sum(['account', 'currency'], gauge('tryvox_monthly_budget', currencyMatcher))} > 0)))`,
            legend: '{{currency}} {{account}}',
          },
        ),
        timeSeries(
          {
            title: 'Fee changes',
            description: 'Numbers whose monthly fee rose or fell, step by step. Of all countries and currencies.',
            size: [12, 8],
            unit: 'locale',
            decimals: 0,
            interval: '1h',
            overrides: [fixedColour('increase', 'orange'), fixedColour('decrease', 'green')],
          },
          { bars: true, stacked: true },
          {
            expr: sum(['direction'], increase('$__rate_interval', 'tryvox_number_fee_changes_total')),
            legend: '{{direction}}',
          },
        ),
      ],
    },
    {
      title: '$currency',
      repeat: 'currency',
      panels: [
        stat(
          {
            title: 'Monthly fees, $currency',
            description: 'What the numbers cost a month.',
            size: [4, 4],
            ...moneyUnit,
          },
          { expr: sum([], monthlyFees()) },
        ),
        stat(
          {
            title: 'Rise in a day, $currency',
            description:
              'By how much the monthly fees rose since yesterday. Red from 20 %, when TryvoxCostSpikeDay fires.',
            size: [4, 4],
            ...shareUnit,
            noValue: 'no data of a day ago',
            thresholds: ['green', [0.05, 'orange'], [0.2, 'red']],
          },
          { expr: relativeIncrease('1d') },
        ),
        stat(
          {
            title: 'Rise in a week, $currency',
            description: 'By how much the monthly fees rose in a week. Red from 30 %, when TryvoxCostSpikeWeek fires.',
            size: [4, 4],
            ...shareUnit,
            noValue: 'no data of a week ago',
            thresholds: ['green', [0.1, 'orange'], [0.3, 'red']],
          },
          { expr: relativeIncrease('1w') },
        ),
        stat(
          {
            title: 'Rise in 30 days, $currency',
            description: 'By how much the monthly fees rose in 30 days.',
            size: [4, 4],
            ...shareUnit,
            noValue: 'no data of 30 days ago',
            thresholds: ['green', [0.1, 'orange'], [0.3, 'red']],
          },
          { expr: relativeIncrease('30d') },
        ),
        stat(
          {
            title: 'Per number, $currency',
            description: 'The monthly fees divided by the numbers of the countries and types that cost them.',
            size: [4, 4],
            unit: 'locale',
            decimals: 3,
          },
          {
            expr: `${sum([], monthlyFees())} / ${sum([], `${numberCount} and on (job, account, country, type, status) (${monthlyFees()} > 0)`)}`,
          },
        ),
        stat(
          {
            title: 'Rest of the year, $currency',
            description:
              'What the rest of the year costs if nothing changes: the monthly fees for the months that are left, today included.',
            size: [4, 4],
            ...moneyUnit,
          },
          { expr: `${sum([], monthlyFees())} * ${monthsLeft}` },
        ),
        timeSeries(
          {
            title: 'By account, $currency',
            description: 'Monthly fees of the 20 dearest accounts, one upon the other.',
            size: [12, 9],
            ...moneyUnit,
          },
          { stacked: true },
          { expr: highest(20, sum(['account'], monthlyFees())), legend: '{{account}}' },
        ),
        timeSeries(
          {
            title: 'By country, $currency',
            description: 'Monthly fees of the 20 dearest countries, one upon the other.',
            size: [12, 9],
            ...moneyUnit,
          },
          { stacked: true },
          { expr: highest(20, sum(['country'], monthlyFees())), legend: '{{country}}' },
        ),
        timeSeries(
          {
            title: 'By type, $currency',
            description: 'Monthly fees of local, toll-free and mobile numbers, one upon the other.',
            size: [8, 8],
            ...moneyUnit,
          },
          { stacked: true },
          { expr: sum(['type'], monthlyFees()), legend: '{{type}}' },
        ),
        timeSeries(
          {
            title: 'By status, $currency',
            description: 'Monthly fees by status, one upon the other: suspended numbers cost, too.',
            size: [8, 8],
            ...moneyUnit,
            overrides: statusColours,
          },
          { stacked: true },
          { expr: sum(['status'], monthlyFees()), legend: '{{status}}' },
        ),
        timeSeries(
          {
            title: 'Paid for nothing, $currency',
            description:
              'Monthly fees of numbers that lead nowhere (of all countries) and of suspended ones. A number can be both, so they are not added.',
            size: [8, 8],
            ...moneyUnit,
            overrides: [fixedColour('leading nowhere', 'orange'), fixedColour('suspended', 'red')],
          },
          {},
          { expr: sum([], unassignedFees), legend: 'leading nowhere' },
          { expr: sum([], monthlyFees('status="suspended"')), legend: 'suspended' },
        ),
        table(
          {
            title: 'Dearest groups, $currency',
            description: 'The 15 dearest groups of numbers of one account, country, type and status.',
            size: [16, 10],
          },
          [
            { field: 'account', heading: 'Account' },
            { field: 'country', heading: 'Country' },
            { field: 'type', heading: 'Type' },
            { field: 'status', heading: 'Status' },
            amountColumn('Value', 'Monthly fees'),
          ],
          { column: 'Monthly fees', descending: true },
          { expr: `topk(15, ${sum(['account', 'country', 'type', 'status'], monthlyFees())} > 0)` },
        ),
        stat(
          {
            title: 'Idle share, $currency',
            description:
              'What numbers that lead nowhere cost, as a share of all monthly fees. Red from 25 %, when TryvoxIdleSpendHigh fires. Of all countries.',
            size: [4, 5],
            ...shareUnit,
            noValue: 'no data: needs --collector.assignment',
            thresholds: ['green', [0.1, 'orange'], [0.25, 'red']],
          },
          { expr: `${sum([], unassignedFees)} / (${sum([], gauge('tryvox_monthly_fees', currencyMatcher))} > 0)` },
        ),
        stat(
          {
            title: 'Suspended, $currency',
            description: 'What suspended numbers cost a month.',
            size: [4, 5],
            ...moneyUnit,
          },
          { expr: sum([], monthlyFees('status="suspended"')) },
        ),
        stat(
          {
            title: 'Setup fees, $currency',
            description: 'What setting up the numbers cost, once, whenever that was.',
            size: [4, 5],
            ...moneyUnit,
          },
          { expr: sum([], gauge('tryvox_setup_fees', countryMatcher, currencyMatcher)) },
        ),
        stat(
          {
            title: 'Idle, $currency',
            description: 'What numbers with neither a trunk nor an application cost a month. Of all countries.',
            size: [4, 5],
            ...moneyUnit,
            noValue: 'no data: needs --collector.assignment',
          },
          { expr: sum([], unassignedFees) },
        ),
      ],
    },
  ],
});
