/**
 * The pieces that queries are made of. Every selector asks for the dashboard's job, instance and,
 * where the family has one, account.
 */

const targets = ['job=~"$job"', 'instance=~"$instance"'];

/** A family of the exporter's process, or one that Prometheus itself keeps of the target. */
export const ofProcess = (family: string, ...matchers: string[]): string =>
  `${family}{${[...targets, ...matchers].join(',')}}`;

/** A family of an account. */
export const ofAccount = (family: string, ...matchers: string[]): string =>
  ofProcess(family, 'account=~"$account"', ...matchers);

/**
 * Each series once, where two processes show the same account: a pair of exporters, or one that has
 * just handed the account to another.
 */
export const once = (vector: string): string => `max without (instance, pod) (${vector})`;

/** A vector without the name of its family, so that a table can put it beside others. */
export const unnamed = (vector: string): string => `max without (pod) (${vector})`;

/** A gauge of an account, once. */
export const gauge = (family: string, ...matchers: string[]): string => once(ofAccount(family, ...matchers));

/** What a counter of an account counted within a window, once. */
export const increase = (window: string, family: string, ...matchers: string[]): string =>
  once(`increase(${ofAccount(family, ...matchers)}[${window}])`);

/** The sum by labels, or of everything where there are none. */
export const sum = (labels: string[], vector: string): string =>
  labels.length === 0 ? `sum(${vector})` : `sum by (${labels.join(', ')}) (${vector})`;

/** A vector as it was some time ago. Every selector here ends with a brace. */
export const ago = (vector: string, time: string): string => vector.replaceAll('}', `} offset ${time}`);

/**
 * The series of a vector that are highest at the end of the dashboard's time range: the same ones at
 * every step, so that a panel stays readable where there are thousands of accounts.
 */
export const highest = (count: number, vector: string): string => {
  const atEnd = vector.replaceAll('}', '} @ end()').replaceAll('time()', '${__to:date:seconds}');
  return `(${vector}) and topk(${count}, ${atEnd})`;
};

/** A vector with a word where a label is empty. */
export const named = (vector: string, label: string, word: string): string =>
  `label_replace(${vector}, "${label}", "${word}", "${label}", "")`;

/** Only those countries that the dashboard is about. */
export const inCountry = 'country=~"$country"';

/** Only those currencies that the dashboard, or the repeated row, is about. */
export const inCurrency = 'currency=~"$currency"';
