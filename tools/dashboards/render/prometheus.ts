/** A client for the HTTP API of Prometheus. */
import type { Labels } from '@grafana/data';

export class Prometheus {
  constructor(private readonly url: string) {}

  private async get(path: string, parameters: Record<string, string>): Promise<any> {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const body = await response.json();
    if (body.status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${body.error}`);
    return body.data;
  }

  labelValues(label: string, match: string): Promise<string[]> {
    return this.get(`label/${label}/values`, { 'match[]': match });
  }

  /** `time` is a Unix timestamp. */
  query(query: string, time: number): Promise<{ result: { metric: Labels; value: [number, string] }[] }> {
    return this.get('query', { query, time: String(time) });
  }

  /** `start` and `end` are Unix timestamps, `step` is in seconds. */
  queryRange(
    query: string,
    start: number,
    end: number,
    step: number,
  ): Promise<{ result: { metric: Labels; values: [number, string][] }[] }> {
    return this.get('query_range', { query, start: String(start), end: String(end), step: String(step) });
  }
}
