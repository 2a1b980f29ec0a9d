/**
 * Builds PromQL expressions. Every selector is limited to the dashboard's `job` and `instance`, and selectors of
 * metrics that have an `account` label also to its `account`.
 */

const targetMatchers = ['job=~"$job"', 'instance=~"$instance"'];

/** Limits a metric to the selected countries. */
export const countryMatcher = 'country=~"$country"';

export const suspendedMatcher = 'status="suspended"';

/** Limits a metric to the selected currencies, or to the currency of the repeated row. */
export const currencyMatcher = 'currency=~"$currency"';

/** Selects a metric without an account: one of the exporter process, or one that Prometheus adds for each target. */
export const processMetric = (family: string, ...matchers: string[]): string =>
  `${family}{${[...targetMatchers, ...matchers].join(',')}}`;

/** Selects a metric that has an `account` label. */
export const accountMetric = (family: string, ...matchers: string[]): string =>
  processMetric(family, 'account=~"$account"', ...matchers);

/**
 * Keeps one series per account if several exporters serve the same account: a redundant pair, or two shards while an
 * account moves from one to the other.
 */
export const deduplicated = (vector: string): string => `max without (instance, pod) (${vector})`;

/** Removes the metric name, so that a table can join the result with other metrics. */
export const withoutName = (vector: string): string => `max without (pod) (${vector})`;

/** Selects a gauge that has an `account` label, deduplicated. */
export const gauge = (family: string, ...matchers: string[]): string =>
  deduplicated(accountMetric(family, ...matchers));

/** The increase of a counter that has an `account` label over a window, deduplicated. */
export const increase = (window: string, family: string, ...matchers: string[]): string =>
  deduplicated(`increase(${accountMetric(family, ...matchers)}[${window}])`);

/** 1 for each account, with the `instance` of the exporter that polls it; if several do, one of them. */
export const pollingInstance = `topk by (job, account) (1, ${withoutName(accountMetric('tryvox_up'))}) ^ 0`;

/** The sum by labels, or the total if there are none. */
export const sum = (labels: string[], vector: string): string =>
  labels.length === 0 ? `sum(${vector})` : `sum by (${labels.join(', ')}) (${vector})`;

/** The vector at an earlier time. Relies on every selector ending with a brace. */
export const offsetBy = (vector: string, time: string): string => vector.replaceAll('}', `} offset ${time}`);

/**
 * The `count` series that are highest at the end of the dashboard's time range. They are the same series at every
 * step, so a panel stays readable with thousands of accounts.
 */
export const highest = (count: number, vector: string): string => {
  const atEnd = vector.replaceAll('}', '} @ end()').replaceAll('time()', '${__to:date:seconds}');
  return `(${vector}) and topk(${count}, ${atEnd})`;
};

/** Replaces an empty label value with a text. */
export const withEmptyLabelAs = (text: string, label: string, vector: string): string =>
  `label_replace(${vector}, "${label}", "${text}", "${label}", "")`;

/** The text for the owner of numbers that have none. */
const noOwner = '(no owner)';

/**
 * Series by owner, limited to the selected owners. A matcher could not select numbers without an owner by the text that
 * stands for it, so the label is compared after it was replaced.
 */
export const bySelectedOwner = (vector: string): string => {
  const named = withEmptyLabelAs(noOwner, 'owner', vector);
  const selected = 'label_replace(vector(1), "selected", "yes", "", "")';
  return `(label_replace(${named}, "selected", "yes", "owner", "$owner") and on (selected) ${selected})`;
};

/** Limits a metric to the selected owners; numbers without an owner are left out. */
export const ownerMatcher = 'owner=~"$owner"';

/** Limits a metric of single numbers to the selected ones. */
export const numberMatcher = 'e164=~"$e164"';
