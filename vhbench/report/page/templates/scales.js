// From numbers to places: ranges that fit the data, round ticks, and labels that do not touch.

const UNIT = { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] };
const FONT = 11; // of charts, in CSS pixels
const pen = document.createElement("canvas").getContext("2d");

function textWidth(text, size = FONT) {
  pen.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}

function niceStep(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
}

function niceTicks(low, high, count = 5) {
  const step = niceStep(low, high, count);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-6; n += 1) {
    ticks.push(Number((n * step).toPrecision(12)));
  }
  return ticks;
}

// A range of scores that ends at half a step: of the data, or from 0 to 1 where the reader asks for that.
function scoreRange(values) {
  const numbers = values.filter((x) => !missing(x));
  if (state.axes === "unit" || !numbers.length) return UNIT;
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  const room = (most - least || 0.1) * 0.02;
  const step = niceStep(least - room, most + room, 4);
  const low = Math.max(0, (Math.floor((least - room) / (step / 2)) * step) / 2);
  const high = Math.min(1, (Math.ceil((most + room) / (step / 2)) * step) / 2);
  return { low, high, ticks: niceTicks(low, high, 5) };
}

// A range of losses; on a log axis its ticks are 1, 2 and 5 times powers of ten, or round numbers where it is short.
function lossRange(values, log) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (!log) {
    const room = (most - least || Math.abs(most) || 1) * 0.05;
    return { low: least - room, high: most + room, ticks: niceTicks(least - room, most + room, 4) };
  }
  const room = Math.max(1.02, (most / least) ** 0.05);
  const [low, high] = [least / room, most * room];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    const factors = high / low > 1e4 ? [1] : high / low > 50 ? [1, 3] : [1, 2, 5];
    ticks.push(...factors.map((factor) => Number((factor * 10 ** power).toPrecision(3))));
  }
  let inside = ticks.filter((tick) => tick >= low && tick <= high);
  for (let count = 3; inside.length < 3 && count < 9; count += 1) inside = niceTicks(low, high, count);
  return { low, high, log: true, ticks: inside };
}

// axis: { label, low, high, ticks, log (optional) }
function scale(axis, start, end) {
  const map = axis.log ? Math.log2 : (x) => x;
  const [low, high] = [map(axis.low), map(axis.high)];
  return (x) => start + ((map(x) - low) / (high - low || 1)) * (end - start);
}

const tickText = (tick) =>
  tick !== 0 && (Math.abs(tick) >= 1e5 || Math.abs(tick) < 1e-3)
    ? tick.toExponential(0).replace("e+", "e")
    : tick.toLocaleString("en", { maximumSignificantDigits: 4 });

// The ticks whose labels stand clear of each other; the last one always stays.
function clearTicks(ticks, place) {
  const kept = [];
  for (const tick of [...ticks].reverse()) {
    const half = textWidth(tickText(tick)) / 2;
    const [left, right] = [place(tick) - half, place(tick) + half];
    if (!kept.length || right + 5 < kept[0].left) kept.unshift({ tick, left });
  }
  return kept.map((one) => one.tick);
}

// Moves labels apart, in place: each { y }, at least `gap` from the next, within low and high as far as there is room.
function spread(labels, gap, low, high) {
  labels.sort((one, other) => one.y - other.y);
  for (let round = 0; round < 200; round += 1) {
    let moved = false;
    for (let n = 1; n < labels.length; n += 1) {
      const lack = gap - (labels[n].y - labels[n - 1].y);
      if (lack > 1e-3) {
        labels[n - 1].y -= lack / 2;
        labels[n].y += lack / 2;
        moved = true;
      }
    }
    if (labels.length && labels[0].y < low) labels[0].y = low;
    if (labels.length && labels[labels.length - 1].y > high) labels[labels.length - 1].y = high;
    if (!moved) return;
  }
  labels.forEach((label, n) => {
    label.y = low + n * gap; // too many for a gentle way
  });
}

// How many panels stand side by side, and how wide each is.
function panelSizes(count, least = 240, most = 6) {
  const gap = 20;
  const room = document.querySelector("main").clientWidth;
  const fit = Math.max(1, Math.min(most, Math.floor((room + gap) / (least + gap))));
  const columns = Math.ceil(count / Math.ceil(count / fit)) || 1; // rows of about the same length
  return { columns, width: Math.floor((room - gap * (columns - 1)) / columns) };
}

// Small multiples: draw(item, width) gives a figure.
function panels(id, items, draw, least = 240, most = 6) {
  const { columns, width } = panelSizes(items.length, least, most);
  const size = columns === 1 && most > 1 ? Math.min(width, 560) : width;
  const holder = h("div", { class: "panels", id }, items.map((item) => draw(item, size)));
  holder.style.setProperty("--columns", columns);
  return holder;
}
