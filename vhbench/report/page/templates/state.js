// What is shown, kept in the address of the page, so that a link leads to the same view; and the series that it names.

const startState = () => ({
  section: "",
  set: 0,
  convention: DATA.convention,
  metric: "", // empty: the set's own
  axes: "fit", // or "unit": from 0 to 1
  across: "bits", // what the columns of the results are: code lengths, or K at one code length
  length: 0, // that code length
  beside: "sd", // what stands beside a mean: the spread over seeds, or the interval over queries ("ci")
  against: "", // the label that tests are against; empty: the best of each column
  hiddenBits: new Set(),
  hiddenLabels: new Set(),
  find: "", // text that narrows the methods
  pinned: new Set(), // labels in colour, the others grey; empty: all in colour
  a: "",
  b: "",
  query: -1, // row of the chosen one
  term: "loss",
  loss: "log",
  runState: "",
  runText: "",
  run: "", // the one whose details are open
  sort: {}, // table -> [column, direction]
});

const state = startState();
const TEXTS = ["convention", "metric", "axes", "across", "beside", "against", "find", "a", "b", "term", "loss"];
const RUN_TEXTS = ["runState", "runText", "run"];

const escaped = (text) => encodeURIComponent(text).replace(/%40/g, "@").replace(/%20/g, "+");
const unescaped = (text) => decodeURIComponent(text.replace(/\+/g, " "));
const listed = (values) => [...values].map((value) => escaped(String(value))).join(",");

// The address of what is shown: the section, then what is not as it was at first.
function address(section = state.section) {
  const usual = { ...startState(), metric: usualMetric() };
  [usual.a, usual.b] = usualPair();
  const parts = state.set ? [`protocol=${escaped(currentSet().name)}`] : [];
  for (const name of [...TEXTS, ...RUN_TEXTS]) {
    if (state[name] && state[name] !== usual[name]) parts.push(`${name}=${escaped(state[name])}`);
  }
  if (state.across === "k") parts.push(`length=${state.length}`);
  if (state.query >= 0) parts.push(`query=${state.query}`);
  const all = allSeries();
  const lists = [
    ["bits", state.hiddenBits.size ? rising(all.map((one) => one.bits)).filter((x) => !state.hiddenBits.has(x)) : null],
    ["without", state.hiddenLabels.size ? state.hiddenLabels : null],
    ["pin", state.pinned.size ? state.pinned : null],
    ["sort", Object.entries(state.sort).map(([table, [column, way]]) => `${table}~${way}~${column}`)],
  ];
  for (const [name, values] of lists) {
    if (values && (values.size || values.length || name === "bits")) parts.push(`${name}=${listed(values)}`);
  }
  return `#${[section, ...parts].filter(Boolean).join("&")}`;
}

function writeAddress() {
  const text = address();
  if (text !== (location.hash || "#")) history.replaceState(null, "", text);
  for (const link of document.querySelectorAll("a[data-section]")) link.href = address(link.dataset.section);
}

// Takes over what an address says; what it does not know stays as it was at first.
function readAddress() {
  const found = {};
  let section = "";
  for (const part of location.hash.slice(1).split("&").filter(Boolean)) {
    const [name, ...rest] = part.split("=");
    if (!rest.length) section = name;
    else found[name] = rest.join("=");
  }
  Object.assign(state, startState(), { section: document.getElementById(section) ? section : "" });
  const text = (name) => {
    try {
      return unescaped(found[name] || "");
    } catch {
      return ""; // cut off within a letter
    }
  };
  const list = (name) =>
    (found[name] || "")
      .split(",")
      .map((_, place, parts) => {
        found.part = parts[place];
        return text("part");
      })
      .filter(Boolean);
  state.set = Math.max(0, DATA.sets.findIndex((set) => set.name === text("protocol")));
  for (const name of [...TEXTS, ...RUN_TEXTS]) state[name] = text(name) || state[name];
  if (!DATA.conventions[state.convention]) state.convention = DATA.convention;
  state.length = Number(text("length")) || 0;
  if (found.query) state.query = Number(text("query"));
  if ("bits" in found) {
    const shown = list("bits");
    state.hiddenBits = new Set(allSeries().map((one) => one.bits).filter((bits) => !shown.includes(String(bits))));
  }
  state.hiddenLabels = new Set(list("without"));
  state.pinned = new Set(list("pin"));
  for (const [table, way, ...column] of list("sort").map((one) => one.split("~"))) {
    state.sort[table] = [column.join("~"), Number(way) < 0 ? -1 : 1];
  }
}

// the series that there are

const currentSet = () => DATA.sets[state.set];
const usualMetric = () => (currentSet() ? currentSet().views.metric || metricNames()[0] || "" : "");
const key = (series) => `${series.label}, ${series.bits} bits`;

function metricNames() {
  const { literature, strict } = currentSet().names;
  return unique([...Object.keys(literature), ...Object.keys(strict)]).filter((name) => !name.includes("["));
}

function allSeries() {
  const set = currentSet();
  return set ? set.series.map((series, place) => ({ ...DATA.groups[series.group], ...series, place })) : [];
}

// The groups of runs that a series is made of: one, or in a mean over splits one a split.
const groupsOf = (series) => (series.groups || [series.group]).map((number) => DATA.groups[number]);

const isMean = () => Boolean(currentSet() && currentSet().folds); // over the splits of a protocol

// The address of the same view of another set.
function addressOf(name, section) {
  const own = state.set;
  state.set = DATA.sets.findIndex((set) => set.name === name);
  const text = address(section);
  state.set = own;
  return text;
}

function isFound(label) {
  const words = state.find.toLowerCase().split(/[\s,]+/).filter(Boolean);
  return !words.length || words.some((word) => label.toLowerCase().includes(word));
}

function shownSeries() {
  return allSeries().filter(
    (one) => !state.hiddenBits.has(one.bits) && !state.hiddenLabels.has(one.label) && isFound(one.label),
  );
}

const runsOf = (series) => series.runs.map((number) => DATA.runs[number]);
const isStale = (series) => runsOf(series).some((run) => run.state === "stale");
const score = (series, metric = state.metric) => series.scores[state.convention][metric] || null;
const value = (series, metric = state.metric) => (score(series, metric) || [null])[0];
const interval = (series, metric = state.metric) => (series.ci[state.convention] || {})[metric] || null;

// The adjusted p of two series of one code length; null where they were not tested against each other.
function pOf(one, other, metric = state.metric) {
  for (const column of (currentSet().p[state.convention] || {})[metric] || []) {
    const [x, y] = [one, other].map((series) => column.members.indexOf(series.place)).sort((p, q) => p - q);
    if (x >= 0 && y >= 0 && x !== y) return column.p[y][x];
  }
  return null;
}

// The two best methods at the code length that most methods have; the longer one of two such.
function usualPair() {
  const all = allSeries();
  const counts = rising(all.map((one) => one.bits)).map((bits) => [bits, all.filter((one) => one.bits === bits).length]);
  counts.sort((x, y) => y[1] - x[1] || y[0] - x[0]);
  const pool = counts.length ? all.filter((series) => series.bits === counts[0][0]) : [];
  const by = usualMetric();
  pool.sort((x, y) => (value(y, by) || 0) - (value(x, by) || 0));
  const second = pool[1] || all.find((series) => key(series) !== key(pool[0])) || pool[0];
  return pool.length ? [key(pool[0]), key(second)] : ["", ""];
}
