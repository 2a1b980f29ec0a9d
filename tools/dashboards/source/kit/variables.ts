/** The template variables of the dashboards. Each offers the values that exist for the choices made in those before it. */
import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  type VariableModel,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';

import { accountMetric, countryMatcher, processMetric } from './queries';

/** The data source of every panel, query and variable. */
export const prometheusDataSource = { type: 'prometheus', uid: '${datasource}' };

/** A variable with the values of the label `name` of a metric; several or all of them can be selected. */
const labelVariable = (name: string, description: string, selector: string): Builder<VariableModel> =>
  withoutUnknownFields(
    new QueryVariableBuilder(name)
      .label(name[0].toUpperCase() + name.slice(1))
      .description(description)
      .datasource(prometheusDataSource)
      .query(`label_values(${selector}, ${name})`)
      .refresh(VariableRefresh.OnTimeRangeChanged)
      .sort(VariableSort.AlphabeticalAsc)
      .multi(true)
      .includeAll(true)
      .allValue('.+')
      .current({ selected: true, text: ['All'], value: ['$__all'] }),
  );

/** Removes fields that the SDK adds but that belong to other types of variables or that Grafana no longer knows. */
const withoutUnknownFields = (builder: Builder<VariableModel>): Builder<VariableModel> => ({
  build: () => {
    const { id: _, auto: _a, auto_min: _m, auto_count: _c, ...variable } = builder.build();
    return variable as VariableModel;
  },
});

export const datasource = withoutUnknownFields(
  new DatasourceVariableBuilder('datasource')
    .label('Data source')
    .description('Prometheus server that scrapes the exporter')
    .type('prometheus'),
);
export const job = labelVariable('job', 'Scrape job of the exporter', 'tryvox_exporter_build_info');
export const instance = labelVariable(
  'instance',
  'Exporter, by its scrape address',
  'tryvox_exporter_build_info{job=~"$job"}',
);
export const account = labelVariable(
  'account',
  'Account, by its name in the configuration',
  processMetric('tryvox_up'),
);
export const country = labelVariable(
  'country',
  'Country of the numbers (ISO 3166-1 alpha-2); some metrics have no country',
  accountMetric('tryvox_numbers'),
);
export const currency = labelVariable(
  'currency',
  'Currency of the fees',
  accountMetric('tryvox_monthly_fees', countryMatcher),
);
export const owner = labelVariable(
  'owner',
  'Owner of the numbers, as in the configuration; only panels by owner use it',
  accountMetric('tryvox_owner_numbers'),
);
export const e164 = labelVariable(
  'e164',
  'A number; only the panels of watched and suspended numbers use it',
  accountMetric('tryvox_number_info', countryMatcher),
);
