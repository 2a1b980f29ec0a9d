/** For finance: what the numbers cost, in each currency by itself, and why that changed. */
import { bars, fixed, lines, type Column, stat, statusColours, table } from './kit/panels';
import { dashboard } from './kit/dashboard';
import { ago, gauge, highest, inCountry, inCurrency, increase, sum } from './kit/queries';
import { account, country, currency, datasource, instance, job } from './kit/variables';

const fees = (...matchers: string[]) => gauge('tryvox_monthly_fees', inCountry, inCurrency, ...matchers);
const idle = gauge('tryvox_assignment_monthly_fees', inCurrency, 'assignment="none"');
const numbers = gauge('tryvox_numbers', inCountry);

/** By how much, as a share, the fees are higher than some time ago. */
const rise = (time: string) => `${sum([], fees())} / (${sum([], ago(fees(), time))} > 0) - 1`;

/** Months from today to the end of the year, today and parts of the month included. */
const monthsLeft = 'scalar(12 - month() + (days_in_month() - day_of_month() + 1) / days_in_month())';

/** An amount of money: all digits, no abbreviation; its currency stands in the title or beside it. */
const money = { unit: 'locale', decimals: 2 };
const share = { unit: 'percentunit', decimals: 1 };

const amount = (field: string, heading: string): Column => ({ field, heading, settings: money });
/** How it differs from now: dearer is orange. */
const difference = (field: string, heading: string): Column => ({
  field,
  heading,
  settings: {
    ...money,
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

const against = (time: string) => `${sum(['currency'], fees())} - ${sum(['currency'], ago(fees(), time))}`;

export const page = dashboard({
  uid: 'tryvox-costs',
  title: 'TryVox / Costs',
  description:
    'What the phone numbers rented from TryVox cost. Amounts are in their own currency; currencies are never added together.',
  range: 'now-30d',
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
            amount('Value #A', 'Monthly fees'),
            difference('Value #B', 'against a day ago'),
            difference('Value #C', 'against a week ago'),
            difference('Value #D', 'against 30 days ago'),
            amount('Value #E', 'Rest of the year'),
            amount('Value #F', 'Setup fees, paid once'),
          ],
          { column: 'Monthly fees', descending: true },
          { expr: sum(['currency'], fees()) },
          { expr: against('1d') },
          { expr: against('1w') },
          { expr: against('30d') },
          { expr: `${sum(['currency'], fees())} * ${monthsLeft}` },
          { expr: sum(['currency'], gauge('tryvox_setup_fees', inCountry, inCurrency)) },
        ),
        bars(
          {
            title: 'Budget used',
            description:
              'Monthly fees as a share of monthly_budget in the configuration, by account and currency. Red from 100 %, when TryvoxBudgetExceeded fires. Of all countries.',
            size: [12, 8],
            ...share,
            noValue: 'no data: no account has a monthly_budget',
            thresholds: ['green', [0.8, 'orange'], [1, 'red']],
          },
          {
            expr: `sort_desc(topk(20, ${sum(['account', 'currency'], gauge('tryvox_monthly_fees', inCurrency))} / (${sum(['account', 'currency'], gauge('tryvox_monthly_budget', inCurrency))} > 0)))`,
            legend: '{{currency}} {{account}}',
          },
        ),
        lines(
          {
            title: 'Fee changes',
            description: 'Numbers whose monthly fee rose or fell, step by step. Of all countries and currencies.',
            size: [12, 8],
            unit: 'locale',
            decimals: 0,
            interval: '1h',
            overrides: [fixed('increase', 'orange'), fixed('decrease', 'green')],
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
      each: 'currency',
      panels: [
        stat(
          { title: 'Monthly fees, $currency', description: 'What the numbers cost a month.', size: [4, 4], ...money },
          { expr: sum([], fees()) },
        ),
        stat(
          {
            title: 'Rise in a day, $currency',
            description:
              'By how much the monthly fees rose since yesterday. Red from 20 %, when TryvoxCostSpikeDay fires.',
            size: [4, 4],
            ...share,
            noValue: 'no data of a day ago',
            thresholds: ['green', [0.05, 'orange'], [0.2, 'red']],
          },
          { expr: rise('1d') },
        ),
        stat(
          {
            title: 'Rise in a week, $currency',
            description: 'By how much the monthly fees rose in a week. Red from 30 %, when TryvoxCostSpikeWeek fires.',
            size: [4, 4],
            ...share,
            noValue: 'no data of a week ago',
            thresholds: ['green', [0.1, 'orange'], [0.3, 'red']],
          },
          { expr: rise('1w') },
        ),
        stat(
          {
            title: 'Rise in 30 days, $currency',
            description: 'By how much the monthly fees rose in 30 days.',
            size: [4, 4],
            ...share,
            noValue: 'no data of 30 days ago',
            thresholds: ['green', [0.1, 'orange'], [0.3, 'red']],
          },
          { expr: rise('30d') },
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
            expr: `${sum([], fees())} / ${sum([], `${numbers} and on (job, account, country, type, status) (${fees()} > 0)`)}`,
          },
        ),
        stat(
          {
            title: 'Rest of the year, $currency',
            description:
              'What the rest of the year costs if nothing changes: the monthly fees for the months that are left, today included.',
            size: [4, 4],
            ...money,
          },
          { expr: `${sum([], fees())} * ${monthsLeft}` },
        ),
        lines(
          {
            title: 'By account, $currency',
            description: 'Monthly fees of the 20 dearest accounts, one upon the other.',
            size: [12, 9],
            ...money,
          },
          { stacked: true },
          { expr: highest(20, sum(['account'], fees())), legend: '{{account}}' },
        ),
        lines(
          {
            title: 'By country, $currency',
            description: 'Monthly fees of the 20 dearest countries, one upon the other.',
            size: [12, 9],
            ...money,
          },
          { stacked: true },
          { expr: highest(20, sum(['country'], fees())), legend: '{{country}}' },
        ),
        lines(
          {
            title: 'By type, $currency',
            description: 'Monthly fees of local, toll-free and mobile numbers, one upon the other.',
            size: [8, 8],
            ...money,
          },
          { stacked: true },
          { expr: sum(['type'], fees()), legend: '{{type}}' },
        ),
        lines(
          {
            title: 'By status, $currency',
            description: 'Monthly fees by status, one upon the other: suspended numbers cost, too.',
            size: [8, 8],
            ...money,
            overrides: statusColours,
          },
          { stacked: true },
          { expr: sum(['status'], fees()), legend: '{{status}}' },
        ),
        lines(
          {
            title: 'Paid for nothing, $currency',
            description:
              'Monthly fees of numbers that lead nowhere (of all countries) and of suspended ones. A number can be both, so they are not added.',
            size: [8, 8],
            ...money,
            overrides: [fixed('leading nowhere', 'orange'), fixed('suspended', 'red')],
          },
          {},
          { expr: sum([], idle), legend: 'leading nowhere' },
          { expr: sum([], fees('status="suspended"')), legend: 'suspended' },
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
            amount('Value', 'Monthly fees'),
          ],
          { column: 'Monthly fees', descending: true },
          { expr: `topk(15, ${sum(['account', 'country', 'type', 'status'], fees())} > 0)` },
        ),
        stat(
          {
            title: 'Idle share, $currency',
            description:
              'What numbers that lead nowhere cost, as a share of all monthly fees. Red from 25 %, when TryvoxIdleSpendHigh fires. Of all countries.',
            size: [4, 5],
            ...share,
            noValue: 'no data: needs --collector.assignment',
            thresholds: ['green', [0.1, 'orange'], [0.25, 'red']],
          },
          { expr: `${sum([], idle)} / (${sum([], gauge('tryvox_monthly_fees', inCurrency))} > 0)` },
        ),
        stat(
          {
            title: 'Suspended, $currency',
            description: 'What suspended numbers cost a month.',
            size: [4, 5],
            ...money,
          },
          { expr: sum([], fees('status="suspended"')) },
        ),
        stat(
          {
            title: 'Setup fees, $currency',
            description: 'What setting up the numbers cost, once, whenever that was.',
            size: [4, 5],
            ...money,
          },
          { expr: sum([], gauge('tryvox_setup_fees', inCountry, inCurrency)) },
        ),
        stat(
          {
            title: 'Idle, $currency',
            description: 'What numbers with neither a trunk nor an application cost a month. Of all countries.',
            size: [4, 5],
            ...money,
            noValue: 'no data: needs --collector.assignment',
          },
          { expr: sum([], idle) },
        ),
      ],
    },
  ],
});
