/**
 * Data links: from a value to the dashboards, filtered by the labels of the value, and to the status page of an exporter.
 * They keep data source, job and time range.
 */
import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import type { DashboardLink } from '@grafana/grafana-foundation-sdk/dashboard';

/** A data link as Grafana stores it. */
export interface DataLink {
  title: string;
  url: string;
  targetBlank?: boolean;
}

/** Returns the variable that Grafana replaces by a label of the value, with an optional format. */
type Reference = (label: string, format?: 'percentencode') => string;

const withFormat = (format?: string) => (format ? `:${format}` : '');
/** A label of the series that the value belongs to. */
const seriesLabel: Reference = (label, format) => `\${__field.labels.${label}${withFormat(format)}}`;
/** A column of the table row that the value belongs to. */
const rowLabel: Reference = (label, format) => `\${__data.fields.${label}${withFormat(format)}}`;

/** The variables that every link keeps. */
const keptVariables = ['datasource', 'job'];

/** A link to the dashboard with this uid. Each label selects the value of the variable with the same name. */
const dashboardLink = (title: string, uid: string, reference: Reference, ...labels: string[]): DataLink => ({
  title,
  url: `/d/${uid}?${[
    ...keptVariables.map((name) => `\${${name}:queryparam}`),
    ...labels.map((label) => `var-${label}=${reference(label, 'percentencode')}`),
    '${__url_time_range}',
  ].join('&')}`,
});

/** The scrape address of an exporter is also that of its status page, unless it uses TLS or a route prefix. */
const statusPageLink = (reference: Reference, account?: string): DataLink => ({
  title: `Status page of ${reference('instance')}`,
  url: `http://${reference('instance')}/${account ? `?q=${account}#accounts` : ''}`,
  targetBlank: true,
});

/** The status page of the exporter that polls the account, if the value has the label `instance`. */
const accountOnStatusPage = (reference: Reference, labels: Set<string>): DataLink[] =>
  labels.has('instance') ? [statusPageLink(reference, reference('account', 'percentencode'))] : [];

/** The links from a value to what the label says about it. `labels` are all labels of the value. */
const LINKS: Record<string, (reference: Reference, labels: Set<string>) => DataLink[]> = {
  e164: (reference, labels) => [
    dashboardLink(`Number ${reference('e164')}`, 'tryvox-numbers', reference, 'account', 'e164'),
    ...accountOnStatusPage(reference, labels),
  ],
  account: (reference, labels) => [
    dashboardLink(`Numbers of account ${reference('account')}`, 'tryvox-numbers', reference, 'account'),
    dashboardLink(`Costs of account ${reference('account')}`, 'tryvox-costs', reference, 'account'),
    dashboardLink(`Polls of account ${reference('account')}`, 'tryvox-exporter', reference, 'account'),
    ...accountOnStatusPage(reference, labels),
  ],
  owner: (reference) => [
    dashboardLink(`Numbers of owner ${reference('owner')}`, 'tryvox-numbers', reference, 'owner'),
    dashboardLink(`Costs of owner ${reference('owner')}`, 'tryvox-costs', reference, 'owner'),
  ],
  instance: (reference) => [
    statusPageLink(reference),
    dashboardLink(`Exporter ${reference('instance')}`, 'tryvox-exporter', reference, 'instance'),
  ],
};

/** The links of the series with this legend, one group for each label in it: `{{account}}`. */
export const seriesLinks = (legends: string[]): Builder<DashboardLink>[] => {
  const used = new Set(legends.flatMap((legend) => [...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label)));
  return Object.entries(LINKS)
    .filter(([label]) => used.has(label))
    .flatMap(([, links]) => links(seriesLabel, used))
    .map((link) => ({ build: () => link as unknown as DashboardLink }));
};

/** The links of a table column with values of this label. `columns` are all columns of the table. */
export const columnLinks = (label: string, columns: string[]): DataLink[] =>
  LINKS[label]?.(rowLabel, new Set(columns)) ?? [];
