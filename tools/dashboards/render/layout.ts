/** The template variables and the layout of a dashboard, as Grafana resolves them. */
import type { Dashboard, Panel } from './model';
import type { Prometheus } from './prometheus';

/** A panel at its final position, with the values of the variables that apply to it. */
export interface PlacedPanel {
  panel: Panel;
  title: string;
  values: Record<string, string>;
}

/** Replaces `$name` and `${name}` by the values of the variables. Unknown variables stay. */
export const interpolate = (text: string, values: Record<string, string>): string =>
  text.replace(/\$\{([\w:]+)\}|\$(\w+)/g, (match, braced, bare) => values[braced ?? bare] ?? match);

/** Returns the values that each query variable offers if `All` is selected in those before it. */
export async function variableOptions(dashboard: Dashboard, prometheus: Prometheus): Promise<Record<string, string[]>> {
  const values: Record<string, string> = {};
  const options: Record<string, string[]> = {};
  for (const variable of dashboard.templating.list.filter(({ type }) => type === 'query')) {
    const [, selector, label] = /^label_values\((.*), (\w+)\)$/.exec(variable.query) ?? [];
    options[variable.name] = await prometheus.labelValues(label, interpolate(selector, values));
    values[variable.name] = variable.allValue;
  }
  return options;
}

/** Returns all panels in order, with collapsed rows expanded and repeated rows once for each value. */
export function layOut(dashboard: Dashboard, options: Record<string, string[]>): PlacedPanel[] {
  const allValues = Object.fromEntries(dashboard.templating.list.map(({ name, allValue }) => [name, allValue]));
  const sections: { row: Panel; panels: Panel[] }[] = [];
  for (const panel of dashboard.panels) {
    if (panel.type === 'row') sections.push({ row: panel, panels: [...(panel.panels ?? [])] });
    else sections.at(-1)?.panels.push(panel);
  }
  const placed: PlacedPanel[] = [];
  // How far the repetitions above move the panels below them down.
  let offset = 0;
  for (const { row, panels } of sections) {
    const height = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h)) - row.gridPos.y;
    const { repeat } = row;
    const repetitions = repeat ? options[repeat].map((value) => ({ [repeat]: value })) : [{}];
    repetitions.forEach((repetition, index) => {
      const values = { ...allValues, ...repetition };
      if (index > 0) offset += height;
      for (const panel of [row, ...panels]) {
        const gridPos = { ...panel.gridPos, y: panel.gridPos.y + offset };
        placed.push({ panel: { ...panel, gridPos }, title: interpolate(panel.title, values), values });
      }
    });
  }
  return placed;
}
