// Two methods query by query.

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

const find = (name) => allSeries().find((series) => key(series) === name);
const className = (number) => currentSet().views.class_names[number];
const classText = (numbers) => numbers.map(className).join(", ") || "no class";

function drawPair() {
  const all = allSeries();
  document.getElementById("pair").hidden = isMean();
  const options = all.map((series) => [key(series), `${shortName(series)}, ${series.bits} bits`]);
  const choose = (letter, name) =>
    field(
      [h("span", { class: `dot-${name}` }, name === "a" ? "●" : "◆"), ` ${letter}`],
      select(`pair ${name}`, options, state[name], (chosen) => {
        state[name] = chosen;
        writeAddress();
        drawQueries();
        drawClasses();
        drawRetrieved();
      }),
    );
  document.getElementById("pair").replaceChildren(choose("A", "a"), choose("B", "b"));
}

function drawQueries() {
  if (isMean()) {
    put("queries", ofOneSplit("queries", "Values query by query are"));
    return;
  }
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
  const chosen =
    rows.find((one) => one.row === state.query) ||
    [...rows].sort((p, q) => Math.abs(q.difference) - Math.abs(p.difference))[0];
  const pick = (row) => {
    state.query = row;
    writeAddress();
    drawQueries();
  };
  const title = (one) => [titleOf(one, views), nameOfQuery(one, views)].filter(Boolean).join("\n");
  const dots = rows.map((one) => ({
    x: one.a,
    y: one.b,
    id: one.row,
    text: `${title(one)}\nA ${fixed(one.a)}, B ${fixed(one.b)}`,
  }));
  const range = scoreRange(rows.flatMap((one) => [one.a, one.b]));
  const [xAxis, yAxis] = [{ label: `A: ${state.a}`, ...range }, { label: `B: ${state.b}`, ...range }];
  const { width } = panelSizes(2, 300, 2);
  const scatter = dotChart(`${k} of each query`, xAxis, yAxis, dots, Math.min(width, 540), chosen && chosen.row, pick);
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
    h("div", { class: "pair" }, scatter, chosenQuery(chosen, views, k)),
    h(
      "div",
      { class: "tables" },
      queryTable("a-best", "A does best", [...rows].sort((p, q) => q.a - p.a), pick),
      queryTable("a-worst", "A does worst", [...rows].sort((p, q) => p.a - q.a), pick),
      queryTable("a-over-b", "A beats B most", [...rows].sort((p, q) => q.difference - p.difference), pick),
      queryTable("b-over-a", "B beats A most", [...rows].sort((p, q) => p.difference - q.difference), pick),
    ),
    note(
      "Queries are numbered from 0, in the order of the protocol. Where queries tie, the first ones are listed. Whether a ",
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
          pick(one.row);
          document.getElementById("chosen").focus();
        },
      },
      one.row,
    );
  const columns = [
    { title: "query", text: true, get: (one) => one.row, show },
    ...(views.classes
      ? [
          {
            title: "class",
            text: true,
            wrap: true,
            get: (one) => classText(views.classes[one.place]),
            show: (one) => [classText(views.classes[one.place]), videoName(nameOfQuery(one, views))],
          },
        ]
      : []),
    { title: "A", get: (one) => one.a, show: (one) => fixed(one.a) },
    { title: "B", get: (one) => one.b, show: (one) => fixed(one.b) },
  ];
  return table(name, columns, rows.slice(0, 8), title);
}

const titleOf = (one, views) => `Query ${one.row}${views.classes ? `: ${classText(views.classes[one.place])}` : ""}`;
const nameOfQuery = (one, views) => (views.query_names || [])[one.place];
const videoName = (name) => (name ? h("span", { class: "video" }, name) : null);

function chosenQuery(one, views, k) {
  if (!one) return null;
  const all = shownSeries()
    .map((series) => ({ ...series, at: apOf(series) }))
    .filter((series) => series.at)
    .map((series) => ({ ...series, at: series.at[one.place] }))
    .sort((p, q) => (q.at || 0) - (p.at || 0));
  return h(
    "div",
    { id: "chosen", tabindex: -1 },
    h("h3", {}, titleOf(one, views), videoName(nameOfQuery(one, views))),
    table(
      "chosen",
      [
        nameColumn(),
        bitsColumn(),
        { title: k, get: (series) => series.at, show: (series) => fixed(series.at) },
      ],
      all.slice(0, 12),
      all.length > 12 ? `The best 12 of ${all.length} methods and lengths shown` : "All methods and lengths shown",
    ),
    tunedNote(all.slice(0, 12)),
    h("p", { class: "soft" }, "Choose another with a point, or in the tables below."),
  );
}
