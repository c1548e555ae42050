"use strict";
// Building blocks: elements, numbers, the state that all sections share, and the text that follows the pointer.
// Text reaches the page through text nodes and attributes only, never as HTML: names come from other people's files.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

const state = {
  set: 0,
  convention: DATA.convention,
  metric: "",
  across: "bits", // what the columns of the table are: code lengths, or K at one code length
  length: 0, // that code length
  hiddenBits: new Set(),
  hiddenLabels: new Set(),
  a: "",
  b: "",
  query: -1, // the chosen one, by its place in the sample
  term: "loss",
  runState: "",
  runText: "",
  sort: {}, // table -> [column, direction]
};

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const put = (section, ...children) => {
  const holder = document.querySelector(`#${section} > div`);
  holder.replaceChildren();
  fill(holder, {}, children);
};
const missing = (value) => value === null || value === undefined;
const pretty = (metric) => metric.replace(/^map@/, "mAP@").replace(/^ndcg@/, "nDCG@").replace(/^mrr/, "MRR");
const hasK = (metric) => /@\d+$/.test(metric); // mrr and precision@r2 have no cut-off rank
const fixed = (value, digits = 3) => (missing(value) ? "–" : value.toFixed(digits));
const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const unique = (values) => [...new Set(values)];

function rounded(value) {
  if (missing(value)) return "–";
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en", { maximumFractionDigits: Math.min(digits, 5) });
}

const currentSet = () => DATA.sets[state.set];
const key = (series) => `${series.label}, ${series.bits} bits`;

function allSeries() {
  const set = currentSet();
  return set ? set.series.map((series) => ({ ...DATA.groups[series.group], ...series })) : [];
}

function shownSeries() {
  return allSeries().filter((series) => !state.hiddenBits.has(series.bits) && !state.hiddenLabels.has(series.label));
}

const runsOf = (series) => series.runs.map((number) => DATA.runs[number]);
const isStale = (series) => runsOf(series).some((run) => run.state === "stale");
const score = (series, metric = state.metric) => series.scores[state.convention][metric] || null;
const value = (series, metric = state.metric) => (score(series, metric) || [null])[0];

function labelStyle(series) {
  const labels = unique(
    allSeries()
      .filter((other) => other.method === series.method)
      .map((other) => other.label),
  );
  return { ...DATA.styles[series.method], variant: labels.indexOf(series.label) };
}

function field(title, control) {
  return h("label", { class: "field" }, title, control);
}

function select(options, chosen, changed) {
  const element = h(
    "select",
    { onchange: () => changed(element.value) },
    options.map(([option, text]) => h("option", { value: option, selected: option === chosen }, text)),
  );
  return element;
}

function radios(title, name, options, chosen, changed) {
  return h(
    "fieldset",
    {},
    h("legend", {}, title),
    h(
      "div",
      { class: "switch" },
      options.map(([option, text]) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name,
            value: option,
            checked: option === chosen,
            onchange: () => changed(option),
          }),
          text,
        ),
      ),
    ),
  );
}

// the text that follows the pointer or the keyboard's choice

const tip = document.getElementById("tip");

function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const left = x + 14 + tip.offsetWidth > innerWidth ? x - 14 - tip.offsetWidth : x + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - tip.offsetHeight - 4))}px`;
}

function hideTip() {
  tip.hidden = true;
}
