"use strict";
// Building blocks: elements, numbers, controls, and the text that follows the pointer.
// Text reaches the page through text nodes and attributes only, never as HTML: names come from other people's files.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

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
const note = (...children) => h("p", { class: "note" }, ...children);

// Draws a section anew. The control that has the focus is drawn anew with it, and keeps the focus.
function put(section, ...children) {
  const holder = document.querySelector(`#${section} > div`);
  const key = holder.contains(document.activeElement) ? document.activeElement.dataset.key : "";
  holder.replaceChildren();
  fill(holder, {}, children);
  if (key) focusKey(holder, key);
}

function focusKey(holder, key) {
  const again = [...holder.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key);
  if (again) again.focus({ preventScroll: true });
}

// numbers

const missing = (value) => value === null || value === undefined;
const pretty = (metric) => metric.replace(/^map@/, "mAP@").replace(/^ndcg@/, "nDCG@").replace(/^mrr/, "MRR");
const hasK = (metric) => /@\d+$/.test(metric); // mrr and precision@r2 have no cut-off rank
const fixed = (value, digits = 3) => (missing(value) ? "–" : value.toFixed(digits));
const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const unique = (values) => [...new Set(values)];
const rising = (numbers) => unique(numbers).sort((x, y) => x - y);

// "2", or "2–5" from the least to the most; "" of none
function span(numbers) {
  const sorted = rising(numbers);
  return unique([sorted[0], sorted[sorted.length - 1]]).join("–");
}

function rounded(value) {
  if (missing(value)) return "–";
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en", { maximumFractionDigits: Math.min(digits, 5) });
}

function signed(x) {
  const size = fixed(missing(x) ? x : Math.abs(x));
  return missing(x) || Number(size) === 0 ? size : `${x < 0 ? "−" : "+"}${size}`;
}

// controls; a key names each in all drawings of it

function field(title, control, attributes = {}) {
  return h("label", { class: "field", ...attributes }, h("span", {}, title), control);
}

function select(key, options, chosen, changed) {
  const element = h(
    "select",
    { "data-key": key, onchange: () => changed(element.value) },
    options.map(([option, text]) => h("option", { value: option, selected: option === chosen }, text)),
  );
  return element;
}

function radios(title, name, options, chosen, changed) {
  const one = ([option, text]) =>
    h(
      "label",
      {},
      h("input", {
        type: "radio",
        name,
        value: option,
        checked: option === chosen,
        "data-key": `${name} ${option}`,
        onchange: () => changed(option),
      }),
      text,
    );
  return h("fieldset", {}, h("legend", {}, title), h("div", { class: "switch" }, options.map(one)));
}

function searchBox(title, key, text, changed) {
  const box = h("input", { type: "search", value: text, "data-key": key, spellcheck: "false" });
  let timer = 0;
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => changed(box.value), 120);
  });
  return field(title, box);
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
