// Charts: lines and dots in inline SVG, with the nearest point's values under the pointer, the finger or the keyboard.

const WIDTH = 320;
const HEIGHT = 232;
const EDGE = { left: 50, right: 10, top: 10, bottom: 36 };
const DASHES = { "-": "", "--": "6 3", ":": "1.5 3", "-.": "7 3 1.5 3" };
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

const paint = (color) => (color === "#000000" ? "var(--ink)" : color);

function marker(style, x, y) {
  return s("path", {
    d: SHAPES[style.marker] || SHAPES.o,
    transform: `translate(${x} ${y})`,
    class: style.variant ? "hollow" : "full",
  });
}

function swatch(style) {
  const group = s(
    "g",
    { class: "mark" },
    s("path", { d: "M1 6H29", "stroke-dasharray": DASHES[style.linestyle] }),
    marker(style, 15, 6),
  );
  const element = s("svg", { class: "swatch", viewBox: "0 0 30 12", "aria-hidden": "true" }, group);
  element.style.setProperty("--c", paint(style.color));
  return element;
}

function niceTicks(low, high, count = 5) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-6; n += 1) ticks.push(n * step);
  return ticks;
}

// axis: { label, low, high, ticks (optional), log (optional) }
function scale(axis, start, end) {
  const map = axis.log ? Math.log2 : (x) => x;
  const [low, high] = [map(axis.low), map(axis.high)];
  return (x) => start + ((map(x) - low) / (high - low || 1)) * (end - start);
}

function frame(xAxis, yAxis, x, y) {
  const [left, right, top, bottom] = [EDGE.left, WIDTH - EDGE.right, EDGE.top, HEIGHT - EDGE.bottom];
  const short = (tick) => String(Number(tick.toPrecision(4)));
  return [
    (yAxis.ticks || niceTicks(yAxis.low, yAxis.high)).map((tick) => [
      s("path", { class: "grid", d: `M${left} ${y(tick)}H${right}` }),
      s("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, short(tick)),
    ]),
    (xAxis.ticks || niceTicks(xAxis.low, xAxis.high)).map((tick) => [
      s("path", { class: "grid", d: `M${x(tick)} ${top}V${bottom}` }),
      s("text", { x: x(tick), y: bottom + 14, "text-anchor": "middle" }, short(tick)),
    ]),
    s("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }),
    s("text", { x: (left + right) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, xAxis.label),
    s(
      "text",
      { x: 9, y: (top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 9 ${(top + bottom) / 2})` },
      yAxis.label,
    ),
  ];
}

// A line: name, style { color, marker, linestyle, variant }, points [{ x, y, sd, text }]; y null: a gap.
function lineChart(title, xAxis, yAxis, lines) {
  const [x, y] = [scale(xAxis, EDGE.left, WIDTH - EDGE.right), scale(yAxis, HEIGHT - EDGE.bottom, EDGE.top)];
  const groups = lines.map((line) => {
    let pen = "M";
    const path = [];
    for (const point of line.points) {
      if (missing(point.y) || missing(point.x)) {
        pen = "M";
      } else {
        path.push(`${pen}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`);
        pen = "L";
      }
    }
    const drawn = line.points.filter((point) => !missing(point.y) && !missing(point.x));
    const every = Math.max(1, Math.ceil(drawn.length / 8)); // markers on some points only
    const group = s(
      "g",
      { class: "mark", "data-name": line.name },
      s("path", { d: path.join(""), "stroke-dasharray": DASHES[line.style.linestyle] }),
      drawn
        .filter((point) => point.sd)
        .map((point) =>
          s("path", { class: "whisker", d: `M${x(point.x)} ${y(point.y - point.sd)}V${y(point.y + point.sd)}` }),
        ),
      drawn.filter((_, place) => place % every === 0).map((point) => marker(line.style, x(point.x), y(point.y))),
    );
    group.style.setProperty("--c", paint(line.style.color));
    return group;
  });
  const points = lines.map((line) =>
    line.points
      .filter((point) => !missing(point.y) && !missing(point.x))
      .map((point) => ({ px: x(point.x), py: y(point.y), name: line.name, text: `${line.name}\n${point.text}` })),
  );
  return figure(title, [frame(xAxis, yAxis, x, y), groups], points, {});
}

// points: [{ x, y, text, id }]; chosen is the id of the one that is ringed; pick(id) is called for one that is clicked
function dotChart(title, xAxis, yAxis, dots, chosen, pick) {
  const [x, y] = [scale(xAxis, EDGE.left, WIDTH - EDGE.right), scale(yAxis, HEIGHT - EDGE.bottom, EDGE.top)];
  const path = s("path", {
    class: "dots",
    d: dots.map((dot) => `M${x(dot.x).toFixed(1)} ${y(dot.y).toFixed(1)}h0`).join(""),
  });
  path.style.setProperty("--c", "var(--a)");
  const low = Math.max(xAxis.low, yAxis.low);
  const high = Math.min(xAxis.high, yAxis.high);
  const ringed = dots.find((dot) => dot.id === chosen);
  const points = dots.map((dot) => ({ px: x(dot.x), py: y(dot.y), text: dot.text, id: dot.id }));
  return figure(
    title,
    [
      frame(xAxis, yAxis, x, y),
      s("path", { class: "guide", d: `M${x(low)} ${y(low)}L${x(high)} ${y(high)}` }),
      path,
      ringed ? s("circle", { class: "pick", cx: x(ringed.x), cy: y(ringed.y), r: 6 }) : null,
    ],
    [points],
    { pick },
  );
}

function figure(title, content, points, { pick }) {
  const ring = s("circle", { class: "ring", r: 5, visibility: "hidden" });
  const picture = s(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      tabindex: 0,
      role: "application",
      "aria-roledescription": "chart",
      "aria-label": `${title}. Arrow keys go from point to point${pick ? ", Enter chooses one" : ""}.`,
    },
    content,
    ring,
  );
  follow(
    picture,
    ring,
    points.filter((line) => line.length),
    pick,
  );
  return h("figure", {}, title ? h("figcaption", {}, title) : null, picture);
}

function follow(picture, ring, points, pick) {
  let at = null; // [line, point]
  const leave = () => {
    ring.setAttribute("visibility", "hidden");
    hideTip();
    emphasise(null);
  };
  const go = (line, place) => {
    at = [line, place];
    const point = points[line][place];
    const box = picture.getBoundingClientRect();
    ring.setAttribute("cx", point.px);
    ring.setAttribute("cy", point.py);
    ring.setAttribute("visibility", "visible");
    emphasise(point.name || null);
    showTip(point.text, box.left + (point.px / WIDTH) * box.width, box.top + (point.py / HEIGHT) * box.height);
  };
  const nearest = (event) => {
    const box = picture.getBoundingClientRect();
    const [px, py] = [
      ((event.clientX - box.left) / box.width) * WIDTH,
      ((event.clientY - box.top) / box.height) * HEIGHT,
    ];
    let best = null;
    let least = 40 ** 2;
    points.forEach((line, number) =>
      line.forEach((point, place) => {
        const distance = (point.px - px) ** 2 + (point.py - py) ** 2;
        if (distance < least) [best, least] = [[number, place], distance];
      }),
    );
    return best;
  };
  const point = (event) => {
    const best = nearest(event);
    if (best) go(...best);
    else leave();
  };
  picture.addEventListener("pointermove", point);
  picture.addEventListener("pointerdown", point);
  picture.addEventListener("pointerleave", leave);
  picture.addEventListener("blur", leave);
  if (pick)
    picture.addEventListener(
      "click",
      (event) => nearest(event) && pick(points[nearest(event)[0]][nearest(event)[1]].id),
    );
  picture.addEventListener("keydown", (event) => {
    if (!points.length) return;
    const [line, place] = at || [0, -1];
    const last = points[line].length - 1;
    const moves = {
      ArrowRight: [line, Math.min(place + 1, last)],
      ArrowLeft: [line, Math.max(place - 1, 0)],
      Home: [line, 0],
      End: [line, last],
      ArrowDown: [(line + 1) % points.length, place],
      ArrowUp: [(line + points.length - 1) % points.length, place],
    };
    if (event.key === "Escape") leave();
    else if (event.key === "Enter" && pick && at) pick(points[line][place].id);
    else if (moves[event.key])
      go(moves[event.key][0], Math.max(0, Math.min(moves[event.key][1], points[moves[event.key][0]].length - 1)));
    else return;
    event.preventDefault();
  });
}

// all lines of one name stand out in every chart
let pinned = null;

function emphasise(name) {
  const wanted = name || pinned;
  document.body.classList.toggle("emphasis", Boolean(wanted));
  for (const group of document.querySelectorAll("svg.chart .mark"))
    group.classList.toggle("on", group.dataset.name === wanted);
}

function legend(entries) {
  return h(
    "ul",
    { class: "legend", "aria-label": "Legend; a button makes its line stand out" },
    entries.map(([name, style]) => {
      const button = h(
        "button",
        {
          type: "button",
          "aria-pressed": String(pinned === name),
          "data-name": name,
          onclick: () => {
            pinned = pinned === name ? null : name;
            for (const other of document.querySelectorAll(".legend button")) {
              other.setAttribute("aria-pressed", String(other.dataset.name === pinned));
            }
            emphasise(null);
          },
          onpointerenter: () => emphasise(name),
          onpointerleave: () => emphasise(null),
        },
        swatch(style),
        name,
      );
      return h("li", {}, button);
    }),
  );
}
