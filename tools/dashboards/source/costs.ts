/** The dashboard for finance: what the numbers cost in each currency, and why the cost changed. */
import { buildDashboard } from './kit/dashboard';
import { amountColumn, changeColumn, moneyUnit, shareUnit } from './kit/money';
import {
  barGauge,
  fixedColor,
  ignoresCountry,
  noAccountText,
  noOwnersText,
  requires,
  stat,
  statusColors,
  table,
  timeSeries,
} from './kit/panels';
import {
  bySelectedOwner,
  countryMatcher,
  currencyMatcher,
  gauge,
  highest,
  increase,
  offsetBy,
  ownerMatcher,
  processMetric,
  sum,
} from './kit/queries';
import { account, country, currency, datasource, instance, job, owner } from './kit/variables';
import { feesByRegionTrunkAndApplication } from './fees-by-target';

const monthlyFees = (...matchers: string[]) =>
  gauge('tryvox_monthly_fees', countryMatcher, currencyMatcher, ...matchers);
const unassignedFees = gauge('tryvox_assignment_monthly_fees', currencyMatcher, 'assignment="none"');
const numberCount = gauge('tryvox_numbers', countryMatcher);

/** The relative increase of the monthly fees since a time ago: 0.1 is 10%. */
const relativeIncrease = (time: string) =>
  `${sum([], monthlyFees())} / (${sum([], offsetBy(monthlyFees(), time))} > 0) - 1`;

/** The months left in the year, including today and counting the rest of this month as a fraction. */
const monthsLeft = 'scalar(12 - month() + (days_in_month() - day_of_month() + 1) / days_in_month())';

const needsAssignment = requires('--collector.assignment');
/** The change of the monthly fees since a time ago, by currency. */
const changeSince = (time: string) =>
  `${sum(['currency'], monthlyFees())} - ${sum(['currency'], offsetBy(monthlyFees(), time))}`;

/** The increase of the amounts that were added to or removed from the monthly fees, by cause. */
const feeMovement = (window: string, direction: 'added' | 'removed') =>
  sum(['cause'], increase(window, `tryvox_monthly_fees_${direction}_total`, currencyMatcher));

const ownerFees = bySelectedOwner(sum(['owner'], gauge('tryvox_owner_monthly_fees', currencyMatcher)));

export const costs = buildDashboard({
  uid: 'tryvox-costs',
  title: 'TryVox / Costs',
  description:
    'Monthly fees, setup fees and budgets of the phone numbers rented from TryVox. Each amount is in its own currency; amounts in different currencies are never added.',
  from: 'now-30d',
  refresh: '5m',
  variables: [datasource, job, instance, account, country, currency, owner],
  sections: [
    {
      title: 'All currencies',
      panels: [
        table(
          {
            title: 'Monthly fees by currency',
            description:
              'Monthly fees of all numbers, their change in 24 hours, 7 days and 30 days, the cost of the rest of the year at these fees, and one-time setup fees, in units of each currency. Increases are orange; see "Monthly fees by account" in the row of the currency to find their origin. A change is empty if Prometheus has no data from that time.',
            size: [24, 6],
          },
          [
            { field: 'currency', heading: 'Currency' },
            amountColumn('Value #A', 'Monthly fees'),
            changeColumn('Value #B', 'Change in 24 h'),
            changeColumn('Value #C', 'Change in 7 d'),
            changeColumn('Value #D', 'Change in 30 d'),
            amountColumn('Value #E', 'Cost until end of year'),
            amountColumn('Value #F', 'Setup fees (one-time)'),
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
            title: 'Monthly budget used',
            description: `Monthly fees as a percentage of the account's monthly_budget in the configuration file; the 20 highest. Orange from 80%, red above 100%, when TryvoxBudgetExceeded fires: release numbers that are not needed or raise the budget. ${ignoresCountry}`,
            size: [8, 8],
            ...shareUnit,
            noValue: requires('monthly_budget'),
            thresholds: ['green', [0.8, 'orange'], [1, 'red']],
          },
          {
            expr: `sort_desc(topk(20, ${sum(['account', 'currency'], gauge('tryvox_monthly_fees', currencyMatcher))} / (${sum(['account', 'currency'], gauge('tryvox_monthly_budget', currencyMatcher))} > 0)))`,
            legend: '{{currency}} {{account}}',
          },
        ),
        barGauge(
          {
            title: 'Monthly budget used by owner',
            description: `Monthly fees of an owner in the selected accounts as a percentage of the owner's monthly_budget in the configuration file; the 20 highest. Orange from 80%, red above 100%, when TryvoxOwnerBudgetExceeded fires (over all accounts): release numbers that are not needed or raise the budget. ${ignoresCountry}`,
            size: [8, 8],
            ...shareUnit,
            noValue: requires('monthly_budget of owners'),
            thresholds: ['green', [0.8, 'orange'], [1, 'red']],
          },
          {
            expr: `sort_desc(topk(20, ${sum(['owner', 'currency'], gauge('tryvox_owner_monthly_fees', currencyMatcher, ownerMatcher))} / (max by (owner, currency) (${processMetric('tryvox_owner_monthly_budget', currencyMatcher, ownerMatcher)}) > 0)))`,
            legend: '{{currency}} {{owner}}',
          },
        ),
        timeSeries(
          {
            title: 'Fee increases and decreases',
            description:
              'Number of phone numbers whose monthly fee increased or decreased, per step of the graph. If many fees increase at once, compare them with the price list of TryVox. Ignores the Country and Currency variables.',
            noValue: noAccountText,
            size: [8, 8],
            unit: 'locale',
            decimals: 0,
            interval: '1h',
            overrides: [fixedColor('increase', 'orange'), fixedColor('decrease', 'green')],
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
            description: 'Sum of the monthly fees of all numbers, whatever their status.',
            size: [6, 4],
            ...moneyUnit,
          },
          { expr: sum([], monthlyFees()) },
        ),
        stat(
          {
            title: 'Monthly fees, change in 24 h, $currency',
            description:
              'Relative change of the monthly fees in 24 hours. Orange from 5%, red from 20%. TryvoxCostSpikeDay fires if the fees of one account rise by more than that: see "Monthly fees by account" for which account, and the dashboard "TryVox / Numbers" for numbers that were added.',
            size: [6, 4],
            ...shareUnit,
            noValue: 'No data from 24 h ago',
            thresholds: ['green', [0.05, 'orange'], [0.2, 'red']],
          },
          { expr: relativeIncrease('1d') },
        ),
        stat(
          {
            title: 'Monthly fees, change in 7 d, $currency',
            description:
              'Relative change of the monthly fees in 7 days. Orange from 10%, red from 30%. TryvoxCostSpikeWeek fires if the fees of one account rise by more than that: see "Monthly fees by account" for which account, and the dashboard "TryVox / Numbers" for numbers that were added.',
            size: [6, 4],
            ...shareUnit,
            noValue: 'No data from 7 d ago',
            thresholds: ['green', [0.1, 'orange'], [0.3, 'red']],
          },
          { expr: relativeIncrease('1w') },
        ),
        stat(
          {
            title: 'Monthly fees, change in 30 d, $currency',
            description:
              'Relative change of the monthly fees in 30 days. Orange from 10%, red from 30%: see "Monthly fees by account" and "Monthly fees by country" for the origin. Requires a Prometheus retention time of more than 30 days.',
            size: [6, 4],
            ...shareUnit,
            noValue: 'No data from 30 d ago',
            thresholds: ['green', [0.1, 'orange'], [0.3, 'red']],
          },
          { expr: relativeIncrease('30d') },
        ),
        timeSeries(
          {
            title: 'Monthly fees by account, $currency',
            description:
              'Monthly fees of the 20 most expensive accounts, stacked. An account whose listing is stale leaves a gap.',
            size: [12, 9],
            ...moneyUnit,
          },
          { stacked: true },
          { expr: highest(20, sum(['account'], monthlyFees())), legend: '{{account}}' },
        ),
        timeSeries(
          {
            title: 'Monthly fees by country, $currency',
            description: 'Monthly fees of the 20 most expensive countries, stacked.',
            size: [12, 9],
            ...moneyUnit,
          },
          { stacked: true },
          { expr: highest(20, sum(['country'], monthlyFees())), legend: '{{country}}' },
        ),
        timeSeries(
          {
            title: 'Monthly fees by type, $currency',
            description: 'Monthly fees by type of number (local, toll_free, mobile), stacked.',
            size: [8, 8],
            ...moneyUnit,
          },
          { stacked: true },
          { expr: sum(['type'], monthlyFees()), legend: '{{type}}' },
        ),
        timeSeries(
          {
            title: 'Monthly fees by status, $currency',
            description: 'Monthly fees by status of the number, stacked. Suspended numbers still have a monthly fee.',
            size: [8, 8],
            ...moneyUnit,
            overrides: statusColors,
          },
          { stacked: true },
          { expr: sum(['status'], monthlyFees()), legend: '{{status}}' },
        ),
        timeSeries(
          {
            title: 'Fees of unassigned and suspended numbers, $currency',
            description:
              'Monthly fees of unassigned numbers (no trunk and no application) and of suspended numbers. A number can be both, so the two are not added. If they rise, assign or release these numbers. The line of unassigned numbers ignores the Country variable.',
            size: [8, 8],
            ...moneyUnit,
            overrides: [fixedColor('unassigned', 'orange'), fixedColor('suspended', 'red')],
          },
          {},
          { expr: sum([], unassignedFees), legend: 'unassigned' },
          { expr: sum([], monthlyFees('status="suspended"')), legend: 'suspended' },
        ),
        timeSeries(
          {
            title: 'Why monthly fees changed, $currency',
            description: `Amounts by which the monthly fees increased (above 0) and decreased (below 0), by cause, per day. Causes are purchases and releases of numbers, repricing, numbers whose currency changed, and numbers whose record became unreadable or readable again. ${ignoresCountry}`,
            size: [12, 9],
            ...moneyUnit,
            noValue: 'No changes in this time range',
            interval: '1d',
          },
          { bars: true, stacked: true },
          { expr: `${feeMovement('$__rate_interval', 'added')} > 0`, legend: 'added: {{cause}}' },
          { expr: `-(${feeMovement('$__rate_interval', 'removed')} > 0)`, legend: 'removed: {{cause}}' },
        ),
        table(
          {
            title: 'Causes of changes, $currency',
            description: `Amounts by which the monthly fees increased and decreased within the time range, by cause, and the difference. Prometheus extrapolates to the ends of the time range, so amounts are approximate. ${ignoresCountry}`,
            size: [12, 9],
            noValue: noAccountText,
          },
          [
            { field: 'cause', heading: 'Cause' },
            amountColumn('Value #A', 'Added'),
            amountColumn('Value #B', 'Removed'),
            changeColumn('Value #C', 'Change'),
          ],
          { column: 'Change', descending: true },
          { expr: feeMovement('$__range', 'added') },
          { expr: feeMovement('$__range', 'removed') },
          { expr: `${feeMovement('$__range', 'added')} - ${feeMovement('$__range', 'removed')}` },
        ),
        timeSeries(
          {
            title: 'Monthly fees by owner, $currency',
            description: `Monthly fees of the 20 most expensive owners, stacked. A number belongs to the first owner in the configuration file that matches it. ${ignoresCountry}`,
            size: [12, 9],
            ...moneyUnit,
            noValue: noOwnersText,
          },
          { stacked: true },
          {
            expr: highest(20, ownerFees),
            legend: '{{owner}}',
          },
        ),
        table(
          {
            title: 'Owners, $currency',
            description: `Monthly fees of the 20 most expensive owners, and their change in 30 days. A change is empty if Prometheus has no data from that time. ${ignoresCountry}`,
            size: [12, 9],
            noValue: noOwnersText,
          },
          [
            { field: 'owner', heading: 'Owner', settings: { 'custom.minWidth': 90 } },
            amountColumn('Value #A', 'Monthly fees'),
            changeColumn('Value #B', 'Change in 30 d'),
          ],
          { column: 'Monthly fees', descending: true },
          { expr: `topk(20, ${ownerFees})` },
          { expr: `(${ownerFees} - ${offsetBy(ownerFees, '30d')}) and topk(20, ${ownerFees})` },
        ),
        table(
          {
            title: 'Most expensive groups, $currency',
            description:
              'Monthly fees of the 15 most expensive groups of numbers. A group has the same account, country, type and status.',
            size: [12, 12],
          },
          [
            { field: 'account', heading: 'Account', settings: { 'custom.minWidth': 100 } },
            { field: 'country', heading: 'Country', settings: { 'custom.width': 80 } },
            { field: 'type', heading: 'Type', settings: { 'custom.width': 95 } },
            { field: 'status', heading: 'Status', settings: { 'custom.width': 105 } },
            { field: 'Value', heading: 'Monthly fees', settings: { ...moneyUnit, 'custom.width': 130 } },
          ],
          { column: 'Monthly fees', descending: true },
          { expr: `topk(15, ${sum(['account', 'country', 'type', 'status'], monthlyFees())} > 0)` },
        ),
        stat(
          {
            title: 'Unassigned numbers, fees, $currency',
            description: `Monthly fees of unassigned numbers (no trunk and no application). Assign these numbers or release them. ${ignoresCountry}`,
            size: [6, 4],
            ...moneyUnit,
            noValue: needsAssignment,
          },
          { expr: sum([], unassignedFees) },
        ),
        stat(
          {
            title: 'Unassigned numbers, share, $currency',
            description: `Monthly fees of unassigned numbers (no trunk and no application) as a percentage of all monthly fees. Orange from 10%, red from 25%. TryvoxUnassignedSpendHigh fires if one account exceeds that: assign these numbers or release them. ${ignoresCountry}`,
            size: [6, 4],
            ...shareUnit,
            noValue: needsAssignment,
            thresholds: ['green', [0.1, 'orange'], [0.25, 'red']],
          },
          { expr: `${sum([], unassignedFees)} / (${sum([], gauge('tryvox_monthly_fees', currencyMatcher))} > 0)` },
        ),
        stat(
          {
            title: 'Suspended numbers, fees, $currency',
            description:
              'Monthly fees of suspended numbers. Have these numbers reactivated or release them; the dashboard "TryVox / Numbers" lists them.',
            size: [6, 4],
            ...moneyUnit,
          },
          { expr: sum([], monthlyFees('status="suspended"')) },
        ),
        stat(
          {
            title: 'Setup fees (one-time), $currency',
            description:
              'Sum of the one-time setup fees of all numbers of the last valid listings, whenever they were charged.',
            size: [6, 4],
            ...moneyUnit,
          },
          { expr: sum([], gauge('tryvox_setup_fees', countryMatcher, currencyMatcher)) },
        ),
        stat(
          {
            title: 'Average fee per number, $currency',
            description:
              'Monthly fees divided by the count of numbers, over the groups (account, country, type and status) that have monthly fees in this currency.',
            size: [6, 4],
            unit: 'locale',
            decimals: 3,
          },
          {
            expr: `${sum([], monthlyFees())} / ${sum([], `${numberCount} and on (job, account, country, type, status) (${monthlyFees()} > 0)`)}`,
          },
        ),
        stat(
          {
            title: 'Cost until end of year, $currency',
            description:
              'Projected cost from today to the end of the year if the monthly fees do not change: monthly fees multiplied by the months left, counting the rest of this month as a fraction.',
            size: [6, 4],
            ...moneyUnit,
          },
          { expr: `${sum([], monthlyFees())} * ${monthsLeft}` },
        ),
      ],
    },
    feesByRegionTrunkAndApplication,
  ],
});
