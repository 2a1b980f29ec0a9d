import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  type VariableModel,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';

import { ofAccount, ofProcess } from './queries';

/** The data source that every panel, query and variable takes. */
export const prometheus = { type: 'prometheus', uid: '${datasource}' };

const query = (name: string, family: string): Builder<VariableModel> =>
  plain(
    new QueryVariableBuilder(name)
      .label(name[0].toUpperCase() + name.slice(1))
      .datasource(prometheus)
      .query(`label_values(${family}, ${name})`)
      .refresh(VariableRefresh.OnTimeRangeChanged)
      .sort(VariableSort.AlphabeticalAsc)
      .multi(true)
      .includeAll(true)
      .allValue('.+')
      .current({ selected: true, text: ['All'], value: ['$__all'] }),
  );

/** Without what belongs to other kinds of variables, and Grafana no longer knows. */
const plain = (builder: Builder<VariableModel>): Builder<VariableModel> => ({
  build: () => {
    const { id: _, auto: _a, auto_min: _m, auto_count: _c, ...variable } = builder.build();
    return variable as VariableModel;
  },
});

/** Each offers what is there for those before it. */
export const datasource = plain(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'));
export const job = query('job', 'tryvox_exporter_build_info');
export const instance = query('instance', 'tryvox_exporter_build_info{job=~"$job"}');
export const account = query('account', ofProcess('tryvox_up'));
export const country = query('country', ofAccount('tryvox_numbers'));
export const currency = query('currency', ofAccount('tryvox_monthly_fees', 'country=~"$country"'));
