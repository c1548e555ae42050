// How a method is drawn: colour, dash and marker as in the figures, no two series alike, dark or light enough to be seen.

const DASHES = { "-": "", "--": "6 3", ":": "1.5 3", "-.": "7 3 1.5 3" };
const MORE_DASHES = ["", "6 3", "1.5 3", "7 3 1.5 3", "10 3", "3 2", "10 3 3 3"];
const SHAPES = {
  o: "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
  s: "M-2.8-2.8h5.6v5.6h-5.6z",
  D: "M0-3.8L3.8 0L0 3.8L-3.8 0z",
  "^": "M0-3.5L3.4 2.8h-6.8z",
  v: "M0 3.5L3.4-2.8h-6.8z",
  "<": "M-3.5 0L2.8-3.4v6.8z",
  ">": "M3.5 0L-2.8-3.4v6.8z",
  p: "M0-3.5L3.3-1.1L2.1 2.8h-4.2L-3.3-1.1z",
  P: "M-1-3h2v2h2v2h-2v2h-2v-2h-2v-2h2z",
  X: "M-3-1.5L-1.5-3L0-1.5L1.5-3L3-1.5L1.5 0L3 1.5L1.5 3L0 1.5L-1.5 3L-3 1.5L-1.5 0z",
  x: "M-2.8-2.8L2.8 2.8M-2.8 2.8L2.8-2.8",
  "*": "M0-3.5L1-1L3.5-1L1.5.8L2.3 3.3L0 1.8L-2.3 3.3L-1.5.8L-3.5-1L-1-1z",
};
const PAPER = { light: "#ffffff", dark: "#14171b" }; // as in base.css
const LEAST = { light: 3.2, dark: 4.5 }; // contrast; WCAG 1.4.11 asks for 3

const channels = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255);

function luminance(color) {
  const linear = channels(color).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

// The colour, mixed with black on light paper or with white on dark paper until it is seen.
function legible(color, scheme) {
  const end = scheme === "light" ? 0 : 1;
  for (let part = 0; part < 1; part += 0.05) {
    const mixed = channels(color).map((c) => Math.round(255 * (c + (end - c) * part)).toString(16).padStart(2, "0"));
    if (contrast(`#${mixed.join("")}`, PAPER[scheme]) >= LEAST[scheme]) return `#${mixed.join("")}`;
  }
  return end ? "#ffffff" : "#000000";
}

function colored(element, color) {
  const plain = /^#[0-9a-f]{6}$/i.test(color) ? color : "#777777";
  const black = luminance(plain) < 0.01; // the colour of text, in either scheme
  element.style.setProperty("--light", black ? "var(--ink)" : legible(plain, "light"));
  element.style.setProperty("--dark", black ? "var(--ink)" : legible(plain, "dark"));
  return element;
}

const looksOf = new Map(); // set -> label -> look

// color, dash, marker, hollow: another of a method's variants differs in one of the last three at least
function look(series) {
  if (!looksOf.has(state.set)) {
    const [found, taken] = [new Map(), new Set()];
    for (const one of allSeries()) {
      if (!found.has(one.label)) found.set(one.label, freeLook(DATA.styles[one.method], taken));
    }
    looksOf.set(state.set, found);
  }
  return looksOf.get(state.set).get(series.label);
}

function freeLook(style, taken) {
  const first = DASHES[style.linestyle] === undefined ? "" : DASHES[style.linestyle];
  const dashes = unique([first, ...MORE_DASHES]);
  const markers = unique([SHAPES[style.marker] ? style.marker : "o", ...Object.keys(SHAPES)]);
  for (const marker of markers) {
    for (const dash of dashes) {
      const name = `${style.color} ${dash} ${marker}`;
      if (taken.has(name)) continue;
      taken.add(name);
      return { color: style.color, dash, marker, hollow: dash !== first || marker !== markers[0] };
    }
  }
  return { color: style.color, dash: first, marker: markers[0], hollow: true };
}

function marker(shape, x, y) {
  return s("path", {
    d: SHAPES[shape.marker] || SHAPES.o,
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
    class: shape.hollow ? "hollow" : "full",
  });
}

function swatch(shape) {
  const line = s("path", { d: "M1 6H29", "stroke-dasharray": shape.dash });
  const group = s("g", { class: "mark" }, line, shape.marker ? marker(shape, 15, 6) : null);
  return s("svg", { class: "swatch", viewBox: "0 0 30 12", "aria-hidden": "true" }, colored(group, shape.color));
}

// A label is a method's name and what differs from its defaults: "uvvh [quick, bf16]".
const shortName = (series) => {
  const alone = unique(allSeries().filter((one) => one.method === series.method).map((one) => one.label)).length < 2;
  return alone ? series.method : series.label;
};
const suffixOf = (series) => series.label.slice(series.method.length);

function nameOf(series) {
  const suffix = suffixOf(series);
  return [series.method, suffix ? h("span", { class: "suffix" }, suffix) : null];
}
