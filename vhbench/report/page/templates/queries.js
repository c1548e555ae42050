// Two methods query by query, class by class, and what they retrieve.

const STEPS = 65534;

function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, place) => {
    const steps = view.getUint16(2 * place, true);
    return steps > STEPS ? null : steps / STEPS;
  });
}

const unpacked = new Map();

function apOf(series) {
  const text = series.ap && series.ap[state.convention];
  if (!text) return null;
  if (!unpacked.has(text)) unpacked.set(text, unpack(text));
  return unpacked.get(text);
}

function signed(x) {
  const size = fixed(missing(x) ? x : Math.abs(x));
  return missing(x) || Number(size) === 0 ? size : `${x < 0 ? "−" : "+"}${size}`;
}

const find = (name) => allSeries().find((series) => key(series) === name);
const className = (number) => currentSet().views.class_names[number];
const classText = (numbers) => numbers.map(className).join(", ") || "no class";

// The two best methods at the code length that most methods have; the longer one of two such.
function choosePair() {
  const all = allSeries();
  const counts = unique(all.map((series) => series.bits)).map((bits) => [
    bits,
    all.filter((series) => series.bits === bits).length,
  ]);
  counts.sort((x, y) => y[1] - x[1] || y[0] - x[0]);
  const pool = counts.length ? all.filter((series) => series.bits === counts[0][0]) : [];
  pool.sort((x, y) => (value(y) || 0) - (value(x) || 0));
  const second = pool[1] || all.find((series) => key(series) !== key(pool[0])) || pool[0];
  [state.a, state.b, state.query] = pool.length ? [key(pool[0]), key(second), -1] : ["", "", -1];
}

function drawPair() {
  const options = allSeries().map((series) => [key(series), key(series)]);
  const change = (name) => (chosen) => {
    state[name] = chosen;
    drawQueries();
    drawClasses();
    drawRetrieved();
  };
  document
    .getElementById("pair")
    .replaceChildren(
      field([h("span", {}, h("span", { class: "dot-a" }, "●"), " A")], select(options, state.a, change("a"))),
      field([h("span", {}, h("span", { class: "dot-b" }, "●"), " B")], select(options, state.b, change("b"))),
    );
}

function drawQueries() {
  const [a, b] = [find(state.a), find(state.b)];
  const views = currentSet() ? currentSet().views : {};
  const [x, y] = [a && apOf(a), b && apOf(b)];
  if (!x || !y) {
    put("queries", h("p", {}, "AP query by query is not recorded for both of these."));
    return;
  }
  const k = views.metric.replace("map", "AP");
  const rows = views.rows
    .map((row, place) => ({ place, row, a: x[place], b: y[place] }))
    .filter((one) => !missing(one.a) && !missing(one.b))
    .map((one) => ({ ...one, difference: one.a - one.b }));
  if (!rows.some((one) => one.place === state.query) && rows.length) {
    state.query = [...rows].sort((p, q) => Math.abs(q.difference) - Math.abs(p.difference))[0].place;
  }
  const pick = (place) => {
    state.query = place;
    drawQueries();
  };
  const title = (one) => `query ${one.row}${views.classes ? `: ${classText(views.classes[one.place])}` : ""}`;
  const dots = rows.map((one) => ({
    x: one.a,
    y: one.b,
    id: one.place,
    text: `${title(one)}\nA ${fixed(one.a)}, B ${fixed(one.b)}`,
  }));
  const unit = { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] };
  const scatter = dotChart(
    `${k} of each query`,
    { label: `A: ${state.a}`, ...unit },
    { label: `B: ${state.b}`, ...unit },
    dots,
    state.query,
    (place) => {
      pick(place);
      document.querySelector("#queries svg.chart").focus({ preventScroll: true });
    },
  );
  const wins = rows.filter((one) => one.difference > 1e-4).length;
  const losses = rows.filter((one) => one.difference < -1e-4).length;
  const mean = rows.reduce((sum, one) => sum + one.difference, 0) / (rows.length || 1);
  const sample =
    views.rows.length < views.total
      ? ` in a random sample of ${views.rows.length.toLocaleString("en")} of the ` +
        `${views.total.toLocaleString("en")} queries (fixed seed)`
      : "";
  put(
    "queries",
    h(
      "p",
      { id: "versus" },
      `${k}, mean over seeds${sample}: A is better on ${wins} queries, B on ${losses}, equal on `,
      `${rows.length - wins - losses}; mean difference A − B ${signed(mean)}.`,
    ),
    h("div", { class: "panels pair" }, scatter, chosenQuery(rows, views, k)),
    h(
      "div",
      { class: "tables" },
      queryTable(
        "a-best",
        "A does best",
        [...rows].sort((p, q) => q.a - p.a),
        pick,
      ),
      queryTable(
        "a-worst",
        "A does worst",
        [...rows].sort((p, q) => p.a - q.a),
        pick,
      ),
      queryTable(
        "a-over-b",
        "A beats B most",
        [...rows].sort((p, q) => q.difference - p.difference),
        pick,
      ),
      queryTable(
        "b-over-a",
        "B beats A most",
        [...rows].sort((p, q) => p.difference - q.difference),
        pick,
      ),
    ),
    h(
      "p",
      { class: "note" },
      "Query numbers are rows of the query file, from 0. Where queries tie, the first ones are listed. Whether a ",
      "difference could be chance: ",
      h("code", {}, "vhbench compare --baseline METHOD"),
      ".",
    ),
  );
}

function queryTable(name, title, rows, pick) {
  const views = currentSet().views;
  const show = (one) =>
    h(
      "button",
      {
        type: "button",
        "aria-label": `show query ${one.row}`,
        onclick: () => {
          pick(one.place);
          document.getElementById("chosen").focus();
        },
      },
      one.row,
    );
  const columns = [
    { title: "query", text: true, get: (one) => one.row, show },
    ...(views.classes
      ? [{ title: "class", text: true, wrap: true, get: (one) => classText(views.classes[one.place]) }]
      : []),
    { title: "A", get: (one) => one.a, show: (one) => fixed(one.a) },
    { title: "B", get: (one) => one.b, show: (one) => fixed(one.b) },
  ];
  return table(name, columns, rows.slice(0, 8), title);
}

function chosenQuery(rows, views, k) {
  const one = rows.find((candidate) => candidate.place === state.query);
  if (!one) return null;
  const all = shownSeries()
    .map((series) => ({ ...series, at: apOf(series) }))
    .filter((series) => series.at)
    .map((series) => ({ ...series, at: series.at[one.place] }))
    .sort((p, q) => (q.at || 0) - (p.at || 0));
  return h(
    "div",
    { id: "chosen", tabindex: -1 },
    h("h3", {}, `Query ${one.row}${views.classes ? `: ${classText(views.classes[one.place])}` : ""}`),
    table(
      "chosen",
      [
        nameColumn(),
        { title: "bits", get: (series) => series.bits },
        { title: k, get: (series) => series.at, show: (series) => fixed(series.at) },
      ],
      all.slice(0, 12),
      all.length > 12 ? `The best 12 of ${all.length} methods and lengths shown` : "All methods and lengths shown",
    ),
    h("p", { class: "soft" }, "Choose another with a point, or in the tables below."),
  );
}

function noLabels(views) {
  return [
    h("p", { class: "warn" }, `${views.no_labels || "There is nothing to show."} `),
    views.advice ? h("p", {}, "Give the data to see this section: ", h("code", {}, views.advice)) : null,
  ];
}

function drawClasses() {
  const [a, b, views] = [find(state.a), find(state.b), currentSet() ? currentSet().views : {}];
  if (!views.class_names || !a.classes || !b.classes || !a.classes[state.convention] || !b.classes[state.convention]) {
    put("classes", ...noLabels(views));
    return;
  }
  const rows = views.class_numbers
    .map((number, place) => ({
      name: className(number),
      queries: views.class_queries[place],
      a: a.classes[state.convention][place],
      b: b.classes[state.convention][place],
    }))
    .map((row) => ({ ...row, difference: missing(row.a) || missing(row.b) ? null : row.a - row.b }));
  put(
    "classes",
    table(
      "classes",
      [
        { title: "class", text: true, get: (row) => row.name },
        { title: "queries", get: (row) => row.queries },
        { title: "A", get: (row) => row.a, show: (row) => fixed(row.a) },
        { title: "B", get: (row) => row.b, show: (row) => fixed(row.b) },
        { title: "A − B", get: (row) => row.difference, show: (row) => signed(row.difference) },
        { title: "0 to 1", plain: true, show: dumbbell },
      ],
      rows,
      `${pretty(views.metric)} of the queries of each class. A: ${state.a}; B: ${state.b}`,
    ),
    h("p", { class: "note" }, "Means over all queries and seeds; a query of several classes counts in each of them."),
  );
}

function dumbbell(row) {
  const at = (x) => 6 + 148 * x;
  const both = !missing(row.a) && !missing(row.b);
  return s(
    "svg",
    { class: "dumbbell", viewBox: "0 0 160 16", "aria-hidden": "true" },
    s("line", { x1: at(0), x2: at(1), y1: 8, y2: 8 }),
    both
      ? [
          s("circle", { class: "dot-a", cx: at(row.a), cy: 8, r: 5 }),
          s("circle", { class: "dot-b", cx: at(row.b), cy: 8, r: 4 }),
        ]
      : null,
  );
}

function drawRetrieved() {
  const [a, b, views] = [find(state.a), find(state.b), currentSet() ? currentSet().views : {}];
  if (!views.examples || !a.top || !b.top) {
    put(
      "retrieved",
      ...(views.no_labels
        ? noLabels(views)
        : [h("p", {}, "The codes of these methods are not there to search again.")]),
    );
    return;
  }
  const pictures = views.pictures;
  const picture = (role, row, text) => (pictures[role][row] ? h("img", { src: pictures[role][row], alt: text }) : null);
  const item = ([row, distance, hit]) =>
    h(
      "div",
      { class: `item ${hit ? "hit" : "miss"}` },
      picture("database", row, `frames of item ${row}`),
      h("b", {}, hit ? "✓ " : "✗ "),
      classText(views.item_classes[row]),
      h("br"),
      `item ${row}, distance ${distance}`,
    );
  const results = (letter, series, place) =>
    h(
      "div",
      { class: "row" },
      h("div", {}, h("span", { class: `dot-${letter.toLowerCase()}` }, "●"), ` ${letter}: ${key(series)}`),
      series.top[place].map(item),
    );
  put(
    "retrieved",
    h(
      "p",
      {},
      "The first five videos that each method finds, for queries drawn at random with a fixed seed, not by result. ",
      h("b", {}, "✓"),
      " and a green border: shares a class with the query; ",
      h("b", {}, "✗"),
      " and a dashed red border: does not.",
    ),
    views.examples.map((row, place) =>
      h(
        "div",
        { class: "example" },
        h("h3", {}, `Query ${row}: ${classText(views.example_classes[place])}`),
        pictures.query[row] ? h("div", { class: "query" }, picture("query", row, `frames of query ${row}`)) : null,
        results("A", a, place),
        results("B", b, place),
      ),
    ),
    h(
      "p",
      { class: "note" },
      "Searched again in the recorded codes of the first seed; items at the same Hamming distance stand in ",
      "database order, and the query's own item is left out. ",
      Object.keys(pictures.database).length
        ? "Pictures: frames of the video from left to right."
        : "This protocol has no frames to show.",
    ),
  );
}
