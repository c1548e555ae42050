// Tables that sort by any column, and the table of results.

// A column: title, get (what is sorted by), show (what a cell holds; the value unless given), text (aligned left).
function table(name, columns, rows, caption, attributes = {}) {
  const holder = h("div", {
    class: rows.length > 60 ? "scroll tall" : "scroll",
    role: "region",
    "aria-label": caption,
    tabindex: 0,
  });
  const draw = (focus) => {
    const [by, direction] = state.sort[name] || [null, 1];
    const column = columns.find((one) => one.title === by);
    const sorted = column ? [...rows].sort((x, y) => compare(column.get(x), column.get(y), direction)) : rows;
    const heads = columns.map((one, place) =>
      header(name, one, by === one.title ? direction : 0, draw, place === 0 && one.text),
    );
    const lines = sorted.map((row) =>
      h(
        "tr",
        attributes.row ? attributes.row(row) : {},
        columns.map((one, place) => {
          const content = one.show ? one.show(row) : one.get(row);
          const kind = [
            one.text ? "text" : "",
            place === 0 && one.text ? "name" : "",
            one.long ? "long" : "",
            one.wrap ? "wrap" : "",
            one.mark ? one.mark(row) : "",
          ]
            .filter(Boolean)
            .join(" ");
          return h(
            place === 0 && one.text ? "th" : "td",
            { class: kind || null, scope: place === 0 && one.text ? "row" : null },
            missing(content) ? "–" : content,
          );
        }),
      ),
    );
    holder.replaceChildren(
      h(
        "table",
        { id: `table-${name}` },
        h("caption", {}, caption),
        h("thead", {}, h("tr", {}, heads)),
        h("tbody", {}, lines),
      ),
    );
    if (focus) holder.querySelectorAll("thead button")[columns.findIndex((one) => one.title === focus)].focus();
  };
  draw();
  return holder;
}

function header(name, column, direction, draw, first) {
  if (column.plain) return h("th", { scope: "col" }, h("span", {}, column.title));
  const next = direction ? -direction : column.text ? 1 : -1; // numbers: the largest first
  const click = () => {
    state.sort[name] = [column.title, next];
    draw(column.title);
  };
  return h(
    "th",
    {
      scope: "col",
      class:
        [column.text ? "text" : "", column.long ? "long" : "", first ? "name" : ""].filter(Boolean).join(" ") || null,
      "aria-sort": direction > 0 ? "ascending" : direction < 0 ? "descending" : "none",
    },
    h("button", { type: "button", onclick: click, title: column.help }, column.title),
  );
}

function compare(x, y, direction) {
  if (missing(x) || missing(y)) return missing(x) - missing(y); // what is not there stands last either way
  return (
    direction *
    (typeof x === "number" && typeof y === "number"
      ? x - y
      : String(x).localeCompare(String(y), "en", { numeric: true }))
  );
}

const nameColumn = () => ({ title: "method", text: true, get: (row) => row.label, show: (row) => named(row) });

function named(series) {
  if (series.reference) return series.label;
  const mark = isStale(series) ? h("span", { title: "stale" }, " †") : null;
  const { problems } = currentSet();
  const warning = problems.length ? h("span", { title: problems.join("; ") }, " §") : null;
  return [swatch(labelStyle(series)), ` ${series.label}`, mark, warning];
}

function drawResults() {
  const shown = shownSeries();
  const set = currentSet();
  if (!set) {
    put("results", h("p", {}, "No run has finished: see the runs below."));
    return;
  }
  const lengths = unique(shown.map((series) => series.bits)).sort((x, y) => x - y);
  if (!lengths.includes(state.length)) state.length = lengths[lengths.length - 1] || 0;
  const kind = state.metric.split("@")[0];
  const over = hasK(state.metric) ? state.across : "bits";
  const columns =
    over === "bits"
      ? lengths.map((bits) => ({ title: `${bits} bits`, find: (series) => series.bits === bits, metric: state.metric }))
      : set.ks.map((k) => ({
          title: `${kind}@${k}`,
          find: (series) => series.bits === state.length,
          metric: `${kind}@${k}`,
        }));
  const rows = unique(shown.map((series) => series.label))
    .map((label) => {
      const own = shown.filter((series) => series.label === label);
      const cells = columns.map((column) => {
        const series = own.find(column.find);
        return series ? { series, score: score(series, column.metric) } : null;
      });
      return { ...own[0], own, cells };
    })
    .filter((row) => row.cells.some(Boolean));
  const thin = set.references
    .map((one) => ({
      label: one.name,
      reference: true,
      cells: columns.map((column) => {
        const found = one.scores[state.convention][column.metric];
        return missing(found) ? null : { series: { seeds: [], warnings: [] }, score: [found, null, null] };
      }),
    }))
    .filter((row) => row.cells.some(Boolean));
  const ranks = columns.map((_, place) =>
    unique(rows.map((row) => cellValue(row, place)).filter((x) => !missing(x))).sort((x, y) => y - x),
  );
  const made = columns.map((column, place) => ({
    title: column.title,
    get: (row) => cellValue(row, place),
    show: (row) => cell(row.cells[place]),
    mark: (row) => (row.reference ? "" : ["best", "second"][ranks[place].indexOf(cellValue(row, place))] || ""),
  }));
  const seeds = {
    title: "seeds",
    get: (row) => Math.max(...row.cells.filter(Boolean).map((one) => one.series.seeds.length)),
    show: (row) =>
      row.reference
        ? ""
        : unique(row.cells.filter(Boolean).map((one) => one.series.seeds.length))
            .sort((x, y) => x - y)
            .join("–"),
  };
  const across = radios(
    "Columns",
    "across",
    [
      ["bits", "code lengths"],
      ["k", "K"],
    ],
    state.across,
    (choice) => {
      state.across = choice;
      drawResults();
      document.querySelector(`#results input[value="${choice}"]`).focus();
    },
  );
  const length =
    over === "k"
      ? field(
          "Code length",
          select(
            lengths.map((bits) => [String(bits), `${bits} bits`]),
            String(state.length),
            (choice) => {
              state.length = Number(choice);
              drawResults();
              document.querySelector("#results select").focus();
            },
          ),
        )
      : null;
  const title = over === "bits" ? pretty(state.metric) : `${pretty(`${kind}@K`)}, ${state.length} bits`;
  put(
    "results",
    h("div", { class: "controls", id: "across" }, hasK(state.metric) ? across : null, length),
    table(
      "results",
      [nameColumn(), seeds, ...made],
      [...rows, ...thin],
      `${set.name}${set.synthetic ? " (synthetic features)" : ""}: ${title}`,
      { row: (row) => (row.reference ? { class: "thin" } : {}) },
    ),
    h("p", { class: "note", id: "result-note" }, resultNote(set, shown)),
  );
}

const cellValue = (row, place) => (row.cells[place] && row.cells[place].score ? row.cells[place].score[0] : null);

function cell(one) {
  if (!one) return "";
  if (!one.score) return h("span", { title: "not recorded in this convention" }, "–");
  const [mean, sd] = one.score;
  if (missing(mean)) return "undefined";
  const { warnings } = one.series;
  const mark = warnings.length ? h("span", { title: warnings.join("; ") }, "!") : null;
  return [fixed(mean), mark, missing(sd) ? null : h("span", { class: "sd" }, ` ±${fixed(sd)}`)];
}

function resultNote(set, shown) {
  const full = set.names[state.convention][state.metric];
  const counts = unique(shown.map((series) => (score(series) || [])[2]).filter((count) => !missing(count)));
  const notes = [
    full
      ? `${full}; ${counts.join("–")} of ${plural(set.queries.total, "query", "queries")} scored`
      : `${state.metric} is not recorded in the ${state.convention} convention`,
    "bold: best of the column; underlined: second",
    state.metric.startsWith("precision@r") ? "a query with nothing within the radius counts as 0" : "",
    shown.some((series) => series.seeds.length > 1) ? "±: standard deviation over seeds" : "one seed each",
    ...unique(shown.flatMap((series) => series.warnings)).map((text) => {
      const own = unique(shown.filter((series) => series.warnings.includes(text)).map((series) => series.label));
      return `!: ${text} (${own.join(", ")})`;
    }),
    set.references.length
      ? "thin lines: chance is a random order, cosine that of centred mean frames without codes, attainable has all relevant items first"
      : "",
    ...set.problems.map((text) => `§: ${text}`),
    shown.some(isStale) ? "†: the method's source code has changed since" : "",
    set.synthetic ? "features are synthetic: not a result on real videos" : "",
  ];
  return `${notes.filter(Boolean).join("; ")}.`;
}
