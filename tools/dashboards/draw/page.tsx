/** The page: a dashboard as Grafana lays it out, and what was drawn, for who looks at it by program. */
import { createTheme, ThemeContext } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import '@fontsource/inter/latin-400.css';
import '@fontsource/inter/latin-500.css';
import 'uplot/dist/uPlot.min.css';

import { type Input, type Placed, Prometheus, frames, layOut, offered, timeRange } from './data';
import { DrawnPanel, type Drawn, STAND_INS } from './panels';

declare global {
  interface Window {
    draw: (input: Input) => Promise<Drawn[]>;
  }
}

/** A row of the grid and the gap between panels, in pixels. */
const ROW = 30;
const GAP = 8;
const PADDING = 16;
const COLUMNS = 24;

const theme = createTheme({ colors: { mode: 'dark' } });

function Heading({ placed, style }: { placed: Placed; style: React.CSSProperties }) {
  return (
    <div className="heading" style={style}>
      {placed.title}
    </div>
  );
}

/** Draws a dashboard with all values of its variables. */
window.draw = async (input) => {
  await initPluginTranslations('grafana-ui');
  // The components measure their texts before they write them.
  await Promise.all(['400', '500'].map((weight) => document.fonts.load(`${weight} 14px Inter`)));
  const prometheus = new Prometheus(input.prometheus);
  const end = Math.floor(Date.now() / 1000);
  const offers = await offered(input.dashboard, prometheus);
  const placed = layOut(input.dashboard, offers);
  const data = await Promise.all(
    placed.map(({ panel, values }) => (panel.type === 'row' ? [] : frames(panel, values, input, end))),
  );
  const column = (input.width - 2 * PADDING + GAP) / COLUMNS;
  const box = ({ panel: { gridPos } }: Placed) => ({
    left: gridPos.x * column,
    top: gridPos.y * (ROW + GAP),
    width: gridPos.w * column - GAP,
    height: gridPos.h * (ROW + GAP) - GAP,
  });
  const depth = Math.max(...placed.map((one) => box(one).top + box(one).height));
  const variables = input.dashboard.templating.list.map(
    ({ label, name }) => `${label}: ${offers[name] ? 'All' : 'Prometheus'}`,
  );
  await new Promise<void>((resolve) => {
    createRoot(document.getElementById('root')!).render(
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        <h1>{input.dashboard.title}</h1>
        <p className="variables">
          {variables.map((text) => (
            <span key={text}>{text}</span>
          ))}
        </p>
        <div className="grid" style={{ height: depth }} ref={() => resolve()}>
          {placed.map((one, index) =>
            one.panel.type === 'row' ? (
              <Heading key={index} placed={one} style={box(one)} />
            ) : (
              <div key={index} className="panel" data-panel={index} style={box(one)}>
                <DrawnPanel
                  panel={one.panel}
                  title={one.title}
                  data={data[index]}
                  theme={theme}
                  range={timeRange(one.panel, input, end)}
                  width={box(one).width}
                  height={box(one).height}
                />
              </div>
            ),
          )}
        </div>
      </ThemeContext.Provider>,
    );
  });
  // Two frames: one in which the components measure themselves, one in which they draw.
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  return placed.flatMap((one, index) => (one.panel.type === 'row' ? [] : [report(one, index)]));
};

/** What is to be seen of a panel. */
function report({ panel, title }: Placed, index: number): Drawn {
  const element = document.querySelector<HTMLElement>(`[data-panel="${index}"]`)!;
  const canvas = element.querySelector('canvas');
  const standIn = panel.type in STAND_INS;
  const noData = element.querySelector('.no-data') !== null;
  const shown = canvas ? colours(canvas) : texts(element, title);
  return { id: panel.id, title, type: panel.type, standIn, shown, noData };
}

/** How many colours a canvas has that are of series: neither transparent nor grey. */
function colours(canvas: HTMLCanvasElement): number {
  const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set<string>();
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue, alpha] = data.subarray(at, at + 4);
    if (alpha > 0 && Math.max(red, green, blue) - Math.min(red, green, blue) > 40)
      seen.add(`${red >> 5},${green >> 5},${blue >> 5}`);
  }
  return seen.size;
}

/** How many values are written out, in the cells of a table or elsewhere. */
function texts(element: HTMLElement, title: string): number {
  const cells = element.querySelectorAll<HTMLElement>('[role="gridcell"]');
  const written =
    cells.length > 0 ? [...cells].map((cell) => cell.innerText) : element.innerText.replace(title, '').split('\n');
  return written.filter((text) => text.trim() !== '').length;
}
