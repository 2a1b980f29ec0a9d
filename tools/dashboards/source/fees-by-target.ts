/** The row of the dashboard of costs with the fees by region, trunk and application. */
import type { Section } from './kit/dashboard';
import { moneyUnit } from './kit/money';
import { barGauge, ignoresCountry, requires } from './kit/panels';
import { countryMatcher, currencyMatcher, gauge, sum, withEmptyLabelAs } from './kit/queries';

/** The monthly fees by a label, which is empty for some numbers. */
const feesBy = (family: string, label: string, emptyText: string) =>
  withEmptyLabelAs(emptyText, label, sum([label], gauge(family, currencyMatcher)));

/** The trunks or applications with the highest monthly fees. */
const feesByTarget = (target: 'trunk' | 'application') =>
  barGauge(
    {
      title: `Monthly fees by ${target}, $currency`,
      description: `Monthly fees of the 12 most expensive ${target}s. ${ignoresCountry}`,
      size: [8, 12],
      ...moneyUnit,
      noValue: requires(`--collector.${target}`),
    },
    {
      expr: `sort_desc(topk(12, ${feesBy(`tryvox_${target}_monthly_fees`, `${target}_id`, `(no ${target})`)}))`,
      legend: `{{${target}_id}}`,
    },
  );

export const feesByRegionTrunkAndApplication: Section = {
  title: 'Region, trunk and application, $currency',
  collapsed: true,
  repeat: 'currency',
  panels: [
    barGauge(
      {
        title: 'Monthly fees by region, $currency',
        description: 'Monthly fees of the 12 most expensive regions.',
        size: [8, 12],
        ...moneyUnit,
        noValue: requires('--collector.region'),
      },
      {
        expr: `sort_desc(topk(12, ${withEmptyLabelAs('(no region)', 'region', sum(['country', 'region'], gauge('tryvox_region_monthly_fees', countryMatcher, currencyMatcher)))}))`,
        legend: '{{country}} {{region}}',
      },
    ),
    feesByTarget('trunk'),
    feesByTarget('application'),
  ],
};
