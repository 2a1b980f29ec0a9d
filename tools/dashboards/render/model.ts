/** The parts of a dashboard's JSON that rendering uses, and the request to render one. */
import type { FieldConfigSource } from '@grafana/data';
import type { DataTransformerConfig } from '@grafana/schema';

export interface Target {
  refId: string;
  expr: string;
  instant: boolean;
  format?: string;
  legendFormat: string;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  options: Record<string, any>;
  fieldConfig: FieldConfigSource;
  targets: Target[];
  transformations?: DataTransformerConfig[];
  timeFrom?: string;
  interval?: string;
  collapsed?: boolean;
  repeat?: string;
  panels?: Panel[];
}

export interface Dashboard {
  uid: string;
  title: string;
  time: { from: string };
  panels: Panel[];
  templating: { list: { type: string; name: string; query: string; allValue: string; label: string }[] };
}

/** A request to render a dashboard, passed from Node.js to the page. */
export interface RenderRequest {
  dashboard: Dashboard;
  /** The URL of a Prometheus server. */
  prometheus: string;
  /** The width of the window, in pixels. */
  width: number;
  /** The time range up to now, if it differs from the dashboard's: `10m`. */
  range?: string;
  /** The interval between samples in Prometheus: `1h`. */
  resolution: string;
}

const SECONDS_PER_UNIT: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Converts a duration such as `90s` to seconds. */
export const parseSeconds = (duration: string): number =>
  Number(duration.slice(0, -1)) * SECONDS_PER_UNIT[duration.slice(-1)];
