// Tables that sort by any column.

// A column: title, get (what is sorted by), show (what a cell holds; the value unless given), text (aligned left),
// mark (a cell's class), below (what stands under the title), plain (not sorted by).
// options: row (a row's attributes), usual (column and direction where none is chosen), last (rows that stay last)
function table(name, columns, rows, caption, options = {}) {
  const holder = h("div", {
    class: rows.length > 60 ? "scroll tall" : "scroll",
    role: "region",
    "aria-label": caption,
    tabindex: 0,
    "data-key": `table ${name}`,
  });
  const draw = () => {
    const [by, direction] = state.sort[name] || options.usual || [null, 1];
    const column = columns.find((one) => one.title === by);
    const sorted = column ? [...rows].sort((x, y) => compare(column.get(x), column.get(y), direction)) : rows;
    const heads = columns.map((one, place) => header(name, one, column === one ? direction : 0, draw, place === 0));
    holder.replaceChildren(
      h(
        "table",
        { id: `table-${name}` },
        h("caption", {}, h("span", {}, caption)),
        h("thead", {}, h("tr", {}, heads)),
        h("tbody", {}, [...sorted, ...(options.last || [])].map((row) => line(columns, row, options.row))),
      ),
    );
  };
  draw();
  return holder;
}

function line(columns, row, attributes) {
  const cells = columns.map((one, place) => {
    const content = one.show ? one.show(row) : one.get(row);
    const head = place === 0 && one.text;
    const kind = [one.text && "text", head && "name", one.long && "long", one.wrap && "wrap", one.mark && one.mark(row)];
    return h(
      head ? "th" : "td",
      { class: kind.filter(Boolean).join(" ") || null, scope: head ? "row" : null },
      missing(content) ? "–" : content,
    );
  });
  return h("tr", attributes ? attributes(row) : {}, cells);
}

function header(name, column, direction, draw, first) {
  if (column.plain) return h("th", { scope: "col" }, h("span", {}, column.title), column.below || null);
  const next = direction ? -direction : column.text ? 1 : -1; // numbers: the largest first
  const sortKey = `sort ${name} ${column.title}`;
  const click = () => {
    state.sort[name] = [column.title, next];
    draw();
    writeAddress();
    focusKey(document.getElementById(`table-${name}`), sortKey);
  };
  const kind = [column.text && "text", column.long && "long", first && column.text && "name"];
  return h(
    "th",
    {
      scope: "col",
      class: kind.filter(Boolean).join(" ") || null,
      "aria-sort": direction > 0 ? "ascending" : direction < 0 ? "descending" : "none",
    },
    h("button", { type: "button", onclick: click, title: column.help, "data-key": sortKey }, column.title),
    column.below || null,
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
const bitsColumn = () => ({ title: "bits", get: (series) => series.bits });

function named(series) {
  if (series.reference) return series.label;
  const mark = isStale(series) ? h("span", { title: "stale" }, " †") : null;
  const { problems } = currentSet();
  const warning = problems.length ? h("span", { title: problems.join("; ") }, " §") : null;
  const tuned = series.tuned.length ? h("span", { title: series.tuned.join("; ") }, " ¶") : null;
  const suffix = shortName(series) === series.label ? suffixOf(series) : "";
  const name = [series.method, suffix ? h("span", { class: "suffix" }, suffix) : null];
  return [swatch(look(series)), h("span", { title: series.label }, " ", name), mark, warning, tuned];
}

// Names what a note is on: each method once, with its code lengths where it has others in the table too.
function namesAt(meant, shown) {
  const lengths = (all, label) => rising(all.filter((one) => one.label === label).map((one) => one.bits));
  return unique(meant.map((one) => one.label)).map((label) => {
    const bits = lengths(meant, label);
    const at = bits.length < lengths(shown, label).length ? ` at ${bits.join(", ")} bits` : "";
    return { name: shortName(meant.find((one) => one.label === label)), at };
  });
}

// how the settings of methods in a table were chosen; the mark of a row of several code lengths is for any of them
function tunedNotes(shown) {
  return unique(shown.flatMap((series) => series.tuned)).map((text) => {
    const own = namesAt(shown.filter((series) => series.tuned.includes(text)), shown);
    const partly = own.filter(({ at }) => at).map(({ name, at }) => `${name}${at} only`);
    return `¶: ${text}${partly.length ? ` (${partly.join(", ")})` : ""}`;
  });
}

const tunedNote = (shown) => tunedNotes(shown).map((text) => note(text));
