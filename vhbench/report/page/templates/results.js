// The table of results: means, spreads or intervals, what could be chance, and all of it on one scale beside.

function drawResults() {
  const shown = shownSeries();
  const set = currentSet();
  if (!set) {
    put("results", h("p", {}, "No run has finished: see the runs below."));
    return;
  }
  const lengths = rising(shown.map((series) => series.bits));
  if (!lengths.includes(state.length)) state.length = lengths[lengths.length - 1] || 0;
  const kind = state.metric.split("@")[0];
  const over = hasK(state.metric) ? state.across : "bits";
  const columns =
    over === "bits"
      ? lengths.map((bits) => ({ title: `${bits} bits`, bits, metric: state.metric }))
      : set.ks.map((k) => ({ title: pretty(`${kind}@${k}`), bits: state.length, metric: `${kind}@${k}` }));
  const rows = methodRows(shown, columns);
  const thin = referenceRows(set, columns);
  const ranks = columns.map((_, place) =>
    unique(rows.map((row) => cellValue(row, place)).filter((x) => !missing(x))).sort((x, y) => y - x),
  );
  const axis = scoreRange([...rows, ...thin.filter((row) => row.key === "cosine")].flatMap((row) => row.cells.flatMap(ends)));
  const width = plotWidth(rows, columns.length);
  const made = columns.map((column, place) => ({
    title: column.title,
    get: (row) => cellValue(row, place),
    show: (row) => cell(row, rows, place, axis, width),
    mark: (row) => (row.reference ? "" : ["best", "second"][ranks[place].indexOf(cellValue(row, place))] || ""),
    below: width ? scaleBar(axis, width) : null,
  }));
  const title = over === "bits" ? pretty(state.metric) : `${pretty(`${kind}@K`)}, ${state.length} bits`;
  put(
    "results",
    resultControls(over, lengths, shown),
    table(
      "results",
      [nameColumn(), ...(isMean() ? [splitColumn(set)] : []), seedColumn(), ...made],
      rows,
      `${set.name}${set.synthetic ? " (synthetic features)" : ""}: ${title}`,
      {
        row: (row) => (row.reference ? { class: "thin" } : {}),
        last: thin,
        usual: columns.length ? [columns[columns.length - 1].title, -1] : null,
      },
    ),
    h("ul", { class: "notes", id: "result-note" }, resultNotes(set, shown, columns).map((text) => h("li", {}, text))),
  );
}

function methodRows(shown, columns) {
  const made = unique(shown.map((series) => series.label)).map((label) => {
    const own = shown.filter((series) => series.label === label);
    const cells = columns.map(({ bits, metric }) => {
      const series = own.find((one) => one.bits === bits);
      return series ? { series, metric, score: score(series, metric), ci: interval(series, metric) } : null;
    });
    const [runs, tuned] = ["runs", "tuned"].map((name) => unique(own.flatMap((series) => series[name])));
    return { ...own[0], runs, tuned, cells };
  });
  return made.filter((row) => row.cells.some(Boolean));
}

function referenceRows(set, columns) {
  const made = set.references.map((one) => ({
    label: one.name,
    key: one.key,
    reference: true,
    cells: columns.map(({ metric }) => {
      const found = one.scores[state.convention][metric];
      const ci = one.ci[state.convention][metric] || null;
      return missing(found) ? null : { series: { seeds: [], warnings: [] }, metric, score: [found, null, null], ci };
    }),
  }));
  return made.filter((row) => row.cells.some(Boolean));
}

const seedColumn = () => ({
  title: "seeds",
  get: (row) => Math.max(...row.cells.filter(Boolean).map((one) => one.series.seeds.length)),
  show: (row) => (row.reference ? "" : span(row.cells.filter(Boolean).map((one) => one.series.seeds.length))),
});

// over how many splits a mean is
const splitColumn = (set) => ({
  title: "splits",
  get: (row) => rising(splitsOf(row))[0],
  show: (row) => {
    const counts = span(splitsOf(row));
    return !counts || counts === String(set.folds_of) ? counts : `${counts} of ${set.folds_of}`;
  },
});
const splitsOf = (row) => (row.reference ? [] : row.cells.filter((one) => one && one.score).map((one) => one.score[3]));

function resultControls(over, lengths, shown) {
  return h(
    "div",
    { class: "controls", id: "across" },
    hasK(state.metric)
      ? radios(
          "Columns",
          "across",
          [
            ["bits", "code lengths"],
            ["k", "K"],
          ],
          state.across,
          (across) => change({ across }),
        )
      : null,
    over === "k"
      ? field(
          "Code length",
          select(
            "length",
            lengths.map((bits) => [String(bits), `${bits} bits`]),
            String(state.length),
            (chosen) => change({ length: Number(chosen) }),
          ),
        )
      : null,
    isMean() ? null : uncertaintyControls(shown),
  );
}

function uncertaintyControls(shown) {
  const names = unique(shown.map((series) => series.label));
  const named = (label) => shortName(shown.find((series) => series.label === label));
  return [
    radios(
      "Beside the mean",
      "beside",
      [
        ["sd", "± seeds"],
        ["ci", "95 % interval"],
      ],
      state.beside,
      (beside) => change({ beside }),
    ),
    field(
      "Tested against",
      select(
        "against",
        [["", "the best of each column"], ...names.map((label) => [label, named(label)])],
        names.includes(state.against) ? state.against : "",
        (against) => change({ against }),
      ),
    ),
  ];
}

const besideMean = () => (isMean() ? "sd" : state.beside);

const cellValue = (row, place) => (row.cells[place] && row.cells[place].score ? row.cells[place].score[0] : null);

// the numbers that a cell's drawing spans
const ends = (one) => (one && one.score && !missing(one.score[0]) ? [one.score[0], ...(one.ci || [])] : []);

function cell(row, rows, place, axis, width) {
  const one = row.cells[place];
  if (!one) return "";
  if (!one.score) return h("span", { title: "not recorded in this convention" }, "–");
  const [mean, sd] = one.score;
  if (missing(mean)) return "undefined";
  const { warnings } = one.series;
  const mark = warnings.length ? h("span", { class: "alert", title: warnings.join("; ") }, "!") : null;
  const test = row.reference ? null : testMark(one, rows, place);
  const beside =
    besideMean() === "ci"
      ? one.ci && h("span", { class: "sd" }, ` [${one.ci.map((end) => fixed(end)).join(", ")}]`)
      : !missing(sd) && h("span", { class: "sd" }, ` ±${fixed(sd)}`);
  const number = h("span", { class: "number" }, fixed(mean), mark, beside);
  return [number, h("span", { class: "test" }, test), width ? whisker(one, axis, width) : null];
}

// ≈: not told apart from the best; ▲ ▼: better or worse than the method that is tested against
function testMark(one, rows, place) {
  const base = baseOf(rows, place);
  if (!base || base.series.place === one.series.place) return null;
  const p = pOf(one.series, base.series, one.metric);
  if (missing(p)) return null;
  const better = one.score[0] > base.score[0];
  const text = p > 0.05 ? (state.against ? "" : "≈") : state.against ? (better ? "▲" : "▼") : "";
  const words = p > 0.05 ? "not told apart from" : better ? "better than" : "worse than";
  const title = `${words} ${base.series.label}: p = ${p.toPrecision(2)}`;
  return text ? h("span", { title, role: "img", "aria-label": title }, text) : null;
}

function baseOf(rows, place) {
  const cells = rows.map((row) => row.cells[place]).filter((one) => one && one.score && !missing(one.score[0]));
  const named = cells.find((one) => one.series.label === state.against);
  if (named || (state.against && rows.some((row) => row.label === state.against))) return named || null;
  return cells.sort((x, y) => y.score[0] - x.score[0])[0] || null;
}

// drawings beside the numbers, all on one scale, where there is room

function plotWidth(rows, columns) {
  const names = Math.max(60, ...rows.map((row) => textWidth(`${shortName(row)} † § ¶`, 13))) + 56;
  const number = textWidth(besideMean() === "ci" ? "0.000! [0.000, 0.000]" : "0.000! ±0.000", 13) + 34;
  const room = sectionWidth() - names - (isMean() ? 2 : 1) * (textWidth("seeds ↕", 13) + 24);
  const width = Math.min(260, Math.floor(room / columns - number));
  return width >= 56 ? width : 0;
}

const placeOn = (axis, width) => scale(axis, 4, width - 4);

function whisker(one, axis, width) {
  const x = placeOn(axis, width);
  const clip = (value) => Math.max(axis.low, Math.min(axis.high, value));
  const [mean] = one.score;
  return s(
    "svg",
    { class: "whisk", viewBox: `0 0 ${width} 16`, width, height: 16, "aria-hidden": "true" },
    axis.ticks.map((tick) => s("path", { class: "grid", d: `M${x(tick)} 0V16` })),
    one.ci ? s("path", { class: "span", d: `M${x(clip(one.ci[0]))} 8H${x(clip(one.ci[1]))}` }) : null,
    mean >= axis.low && mean <= axis.high ? s("path", { class: "mean", d: `M${x(mean)} 3V13` }) : null,
  );
}

function scaleBar(axis, width) {
  const x = placeOn(axis, width);
  const text = (value, anchor, at) => s("text", { x: at, y: 10, "text-anchor": anchor }, tickText(Number(value.toFixed(3))));
  return s(
    "svg",
    { class: "whisk axis", viewBox: `0 0 ${width} 16`, width, height: 16, "aria-hidden": "true" },
    text(axis.low, "start", 1),
    text(axis.high, "end", width - 1),
    axis.ticks.map((tick) => s("path", { class: "grid", d: `M${x(tick)} 13V16` })),
  );
}

function resultNotes(set, shown, columns) {
  const full = set.names[state.convention][state.metric];
  const counts = rising(shown.map((series) => (score(series) || [])[2]).filter((count) => !missing(count)));
  const tested = columns.some((column) => (set.p[state.convention] || {})[column.metric]);
  const notes = [
    full
      ? `${full}; ${span(counts)} of ${plural(set.queries.total, "query", "queries")} scored`
      : `${state.metric} is not recorded in the ${state.convention} convention`,
    "bold: best of the column; underlined: second",
    state.metric.startsWith("precision@r") ? "a query with nothing within the radius counts as 0" : "",
    isMean() ? spreadNote(set, shown) : seedNote(shown),
    isMean()
      ? [
          "no intervals or tests: they are of the queries of one split; records do not say which queries splits share. ",
          "Of one split each: ",
          splitLinks("results"),
        ]
      : tested
        ? "bars, where there is room: 95 % bootstrap intervals over queries, all on one scale"
        : "intervals and tests: for mAP only, of large query sets for the mAP of --metric only",
    tested ? testNote() : "",
    ...settingNotes(shown),
    ...tunedNotes(shown),
    ...unique(shown.flatMap((series) => series.warnings)).map((text) => {
      const own = namesAt(shown.filter((series) => series.warnings.includes(text)), shown);
      return `!: ${text} (${own.map(({ name, at }) => name + at).join(", ")})`;
    }),
    set.references.length
      ? "thin lines: chance is a random order, cosine that of centred mean frames without codes, attainable has all relevant items first"
      : "",
    ...set.problems.map((text) => `§: ${text}`),
    shown.some(isStale) ? "†: the method's source code has changed since" : "",
    set.synthetic ? "features are synthetic: not a result on real videos" : "",
  ];
  return notes.filter(Boolean);
}

const seedNote = (shown) =>
  shown.some((series) => series.seeds.length > 1) ? "±: standard deviation over seeds" : "one seed each";

// As under the tables of `vhbench compare`: over how many splits a mean is.
function spreadNote(set, shown) {
  const splits = (series) => (score(series) || [])[3];
  const scored = shown.filter(splits);
  const counts = rising(scored.map(splits)).filter((count) => count < set.folds_of);
  const fewer = counts.reverse().flatMap((count) => {
    const own = namesAt(scored.filter((series) => splits(series) === count), scored);
    return own.map(({ name, at }) => `${name}${at} over ${count}`);
  });
  const lacking = fewer.length ? ` (yet ${fewer.join(", ")})` : "";
  const spread = shown.some((series) => !missing((score(series) || [])[1])) ? "mean ± standard deviation" : "mean";
  const seeds = shown.some((series) => series.seeds.length > 1) ? ", each the mean over its seeds" : "";
  return `${spread} over ${set.folds_of} splits${lacking}${seeds}`;
}

// what the names in the table leave out
function settingNotes(shown) {
  const short = shown.filter((series) => shortName(series) !== series.label);
  return unique(short.map(suffixOf)).map((suffix) => {
    const own = unique(short.filter((series) => suffixOf(series) === suffix).map((series) => series.method));
    return `${suffix.trim()}, unlike the defaults: ${own.join(", ")}`;
  });
}

function testNote() {
  const how = "sign-flip test over queries, Holm's correction for all pairs of methods of a code length on this page, 5 %";
  return state.against
    ? `▲ ▼: better or worse than ${state.against} (${how})`
    : `≈: not told apart from the best of the column (${how})`;
}
