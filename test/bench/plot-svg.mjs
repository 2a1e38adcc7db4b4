// The plot: two panels with logarithmic axes, readable on a light and on a dark page (it brings its own background).
import { sizeName } from './context.mjs';

const WIDTH = 920;
const HEIGHT = 400;
const PANEL = { width: 360, height: 250, top: 80 };
const LEFTS = [80, 530];
const SIDES = [
  { side: 'ours', name: 'patch-vdi', colour: '#0b62c4', mark: 'circle' },
  { side: 'peer', name: 'mke2fs -d, then qemu-img convert', colour: '#b3470b', mark: 'square' },
];
const PANELS = [
  { what: 'wall', title: 'time, s' },
  { what: 'peak', title: 'memory of the largest process, MiB' },
];

const short = (value) => String(Number(value.toPrecision(3)));
const place = (value) => value.toFixed(1);

/** 1, 2, 5, 10, … around all values, so that even a flat curve has labels above and below it. */
function ticksAround(values) {
  const ticks = [];
  const lowest = Math.min(...values);
  const highest = Math.max(...values);
  for (let power = Math.floor(Math.log10(lowest)) - 1; power <= Math.ceil(Math.log10(highest)); power += 1) {
    for (const step of [1, 2, 5]) ticks.push(step * 10 ** power);
  }
  const first = ticks.findLastIndex((tick) => tick <= lowest);
  const last = ticks.findIndex((tick) => tick >= highest);
  return ticks.slice(first, Math.max(last, first + 1) + 1);
}

/** A function from values to places, the logarithms evenly. */
function scale([lowest, highest], [from, to]) {
  const span = Math.log(highest / lowest) || 1;
  return (value) => from + ((to - from) * Math.log(value / lowest)) / span;
}

const text = (x, y, words, more = '') => `<text x="${place(x)}" y="${place(y)}"${more}>${words}</text>`;
const line = (x1, y1, x2, y2) =>
  `<line x1="${place(x1)}" y1="${place(y1)}" x2="${place(x2)}" y2="${place(y2)}" stroke="#d0d5da"/>`;

function markAt(kind, x, y, colour) {
  return kind === 'circle'
    ? `<circle cx="${place(x)}" cy="${place(y)}" r="4" fill="${colour}"/>`
    : `<rect x="${place(x - 3.5)}" y="${place(y - 3.5)}" width="7" height="7" fill="${colour}"/>`;
}

function panel({ what, title }, left, points) {
  const bottom = PANEL.top + PANEL.height;
  const sizes = points.map(({ bytes }) => bytes);
  const ticks = ticksAround(
    points.flatMap((point) => SIDES.flatMap(({ side }) => point[side]?.[what] ?? [])),
  );
  const across = scale([sizes[0], sizes.at(-1)], [left, left + PANEL.width]);
  const up = scale([ticks[0], ticks.at(-1)], [bottom, PANEL.top]);
  const parts = [text(left, PANEL.top - 14, title, ' font-weight="bold"')];
  for (const tick of ticks) {
    parts.push(line(left, up(tick), left + PANEL.width, up(tick)));
    parts.push(text(left - 8, up(tick) + 4, short(tick), ' text-anchor="end"'));
  }
  for (const bytes of sizes) {
    parts.push(line(across(bytes), PANEL.top, across(bytes), bottom));
    const [number, unit] = sizeName(bytes).split(' ');
    parts.push(text(across(bytes), bottom + 18, number, ' text-anchor="middle"'));
    parts.push(text(across(bytes), bottom + 33, unit, ' text-anchor="middle" font-size="11"'));
  }
  for (const { side, colour, mark } of SIDES) {
    const places = points
      .filter((point) => point[side] !== undefined)
      .map((point) => [across(point.bytes), up(point[side][what])]);
    const path = places.map(([x, y]) => `${place(x)},${place(y)}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    parts.push(...places.map(([x, y]) => markAt(mark, x, y, colour)));
  }
  return parts;
}

function legend() {
  return SIDES.flatMap(({ name, colour, mark }, index) => [
    markAt(mark, LEFTS[0] + index * 130 + 4, 33, colour),
    text(LEFTS[0] + index * 130 + 16, 38, name),
  ]);
}

/** @param points bytes, and wall (seconds) and peak (MiB) of `ours` and `peer`, which may be missing */
export function plotSvg(points) {
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img"`,
    '  aria-label="Time and memory against the size of the upload" font-family="sans-serif" font-size="13" fill="#1c2228">',
    `<rect width="${WIDTH}" height="${HEIGHT}" rx="8" fill="#ffffff"/>`,
    ...legend(),
    ...PANELS.flatMap((one, index) => panel(one, LEFTS[index], points)),
    text(WIDTH / 2, HEIGHT - 12, 'size of the upload (both axes logarithmic)', ' text-anchor="middle"'),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}
