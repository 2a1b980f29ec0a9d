/** The page that renders a dashboard as Grafana does, and reports to the caller what each panel shows. */
import { createTheme, ThemeContext } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import '@fontsource/inter/latin-400.css';
import '@fontsource/inter/latin-500.css';
import 'uplot/dist/uPlot.min.css';

import { queryFrames, timeRange } from './frames';
import { type PlacedPanel, layOut, variableOptions } from './layout';
import type { RenderRequest } from './model';
import { RenderedPanel, STAND_INS } from './panels';
import { Prometheus } from './prometheus';

/** What a panel shows after rendering. */
interface PanelReport {
  id: number;
  title: string;
  type: string;
  /** Whether a stand-in was drawn, because Grafana does not publish the component for this panel type. */
  standIn: boolean;
  /** The number of colors in a graph, or of texts in any other panel. */
  shown: number;
  /** Whether the panel shows its text for missing data. */
  noData: boolean;
}

declare global {
  interface Window {
    renderDashboard: (request: RenderRequest) => Promise<PanelReport[]>;
  }
}

/** The height of a grid row, the gap between panels and the padding of the page, in pixels. */
const ROW_HEIGHT = 30;
const GAP = 8;
const PADDING = 16;
/** The width of Grafana's grid. */
const COLUMNS = 24;

const theme = createTheme({ colors: { mode: 'dark' } });

function RowHeading({ title, style }: { title: string; style: React.CSSProperties }) {
  return (
    <div className="heading" style={style}>
      {title}
    </div>
  );
}

/** Renders a dashboard with `All` selected in every variable. */
window.renderDashboard = async (request) => {
  await initPluginTranslations('grafana-ui');
  // The components measure text before they draw it, so the fonts must be loaded first.
  await Promise.all(['400', '500'].map((weight) => document.fonts.load(`${weight} 14px Inter`)));
  const prometheus = new Prometheus(request.prometheus);
  const end = Math.floor(Date.now() / 1000);
  const options = await variableOptions(request.dashboard, prometheus);
  const placedPanels = layOut(request.dashboard, options);
  const data = await Promise.all(
    placedPanels.map(({ panel, values }) => (panel.type === 'row' ? [] : queryFrames(panel, values, request, end))),
  );
  const columnWidth = (request.width - 2 * PADDING + GAP) / COLUMNS;
  const box = ({ panel: { gridPos } }: PlacedPanel) => ({
    left: gridPos.x * columnWidth,
    top: gridPos.y * (ROW_HEIGHT + GAP),
    width: gridPos.w * columnWidth - GAP,
    height: gridPos.h * (ROW_HEIGHT + GAP) - GAP,
  });
  const height = Math.max(...placedPanels.map((placed) => box(placed).top + box(placed).height));
  const variables = request.dashboard.templating.list.map(
    ({ label, name }) => `${label}: ${options[name] ? 'All' : 'Prometheus'}`,
  );
  await new Promise<void>((resolve) => {
    createRoot(document.getElementById('root')!).render(
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        <h1>{request.dashboard.title}</h1>
        <p className="variables">
          {variables.map((text) => (
            <span key={text}>{text}</span>
          ))}
        </p>
        <div className="grid" style={{ height }} ref={() => resolve()}>
          {placedPanels.map((placed, index) =>
            placed.panel.type === 'row' ? (
              <RowHeading key={index} title={placed.title} style={box(placed)} />
            ) : (
              <div key={index} className="panel" data-panel={index} style={box(placed)}>
                <RenderedPanel
                  panel={placed.panel}
                  title={placed.title}
                  data={data[index]}
                  theme={theme}
                  range={timeRange(placed.panel, request, end)}
                  width={box(placed).width}
                  height={box(placed).height}
                />
              </div>
            ),
          )}
        </div>
      </ThemeContext.Provider>,
    );
  });
  // The components measure themselves in the first animation frame and draw in the second.
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  return placedPanels.flatMap((placed, index) => (placed.panel.type === 'row' ? [] : [report(placed, index)]));
};

/** Inspects a rendered panel. */
function report({ panel, title }: PlacedPanel, index: number): PanelReport {
  const element = document.querySelector<HTMLElement>(`[data-panel="${index}"]`)!;
  const canvas = element.querySelector('canvas');
  const standIn = panel.type in STAND_INS;
  const noData = element.querySelector('.no-data') !== null;
  const shown = canvas ? countColors(canvas) : countTexts(element, title);
  return { id: panel.id, title, type: panel.type, standIn, shown, noData };
}

/** Counts the colors of a canvas, apart from gray and transparent, which are not used for series. */
function countColors(canvas: HTMLCanvasElement): number {
  const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
  const colors = new Set<string>();
  for (let offset = 0; offset < data.length; offset += 4) {
    const [red, green, blue, alpha] = data.subarray(offset, offset + 4);
    if (alpha > 0 && Math.max(red, green, blue) - Math.min(red, green, blue) > 40)
      colors.add(`${red >> 5},${green >> 5},${blue >> 5}`);
  }
  return colors.size;
}

/** Counts the texts of a panel: the cells that are not empty in a table, otherwise the lines except the title. */
function countTexts(element: HTMLElement, title: string): number {
  const cells = element.querySelectorAll<HTMLElement>('[role="gridcell"]');
  const lines =
    cells.length > 0 ? [...cells].map((cell) => cell.innerText) : element.innerText.replace(title, '').split('\n');
  return lines.filter((text) => text.trim() !== '').length;
}
