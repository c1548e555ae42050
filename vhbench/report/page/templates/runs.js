// Audits of the codes, cost, and where every number comes from.

function drawCodes() {
  const rows = shownSeries();
  const metric = state.metric.startsWith("map@") ? state.metric : currentSet() ? currentSet().views.metric : "";
  const audit = (title, name, digits, help) => ({
    title,
    help,
    get: (series) => series.audit[name],
    show: (series) => (digits ? fixed(series.audit[name], digits) : rounded(series.audit[name])),
  });
  const tie = (order) => (series) => (series.scores.literature[`${metric}[ties=${order}]`] || [null])[0];
  const [worst, best] = [tie("worst"), tie("best")];
  put(
    "codes",
    table(
      "codes",
      [
        nameColumn(),
        { title: "bits", get: (series) => series.bits },
        audit("balance", "balance_mean", 3, "mean |share of ones − 0.5| over bits; 0 is ideal"),
        audit("worst bit", "balance_worst", 3, "largest |share of ones − 0.5|; 0.5 is a constant bit"),
        audit("dead bits", "dead_bits", 0, "bits that are the same in all codes"),
        audit("duplicate bits", "duplicate_bits", 0, "bits equal or complementary to an earlier one"),
        audit("mean corr.", "correlation_mean", 3, "mean absolute correlation of pairs of live bits"),
        audit("largest corr.", "correlation_max", 3, "largest absolute correlation of a pair of live bits"),
        audit("distinct codes", "distinct_codes", 0, "different codes in the database"),
        audit("collisions", "collisions", 0, "items less distinct codes"),
        audit("largest bucket", "largest_bucket", 0, "items that share the most frequent code"),
        {
          title: "tie span",
          help: "how far the order of tied items could move the number",
          get: (series) => (missing(best(series)) ? null : best(series) - worst(series)),
          show: (series) => (missing(best(series)) ? "–" : `${fixed(worst(series))}–${fixed(best(series))}`),
        },
      ],
      rows,
      "Database codes as a hash; means over seeds",
    ),
    h(
      "p",
      { class: "note" },
      "Balance: mean and largest |share of ones − 0.5| over bits, 0 is ideal. Correlation: absolute, of pairs of ",
      "live bits. Tie span: ",
      pretty(metric),
      " in the literature's convention with tied items in the worst and in the best order.",
    ),
  );
}

function drawCost() {
  const cost = (title, name, help) => ({
    title,
    help,
    get: (series) => series.cost[name],
    show: (series) => rounded(series.cost[name]),
  });
  const devices = unique(shownSeries().flatMap((series) => series.cost.devices));
  put(
    "cost",
    table(
      "cost",
      [
        nameColumn(),
        { title: "bits", get: (series) => series.bits },
        cost("learnt numbers", "learnt_numbers"),
        cost("fit, s", "fit_s"),
        cost("encode, s", "encode_s"),
        cost("videos/s", "videos_per_s"),
        cost("peak memory, MiB", "peak_rss_mb"),
        cost("GPU memory, MiB", "peak_gpu_mb"),
        devices.length > 1
          ? { title: "device", text: true, long: true, get: (series) => series.cost.devices.join("; ") }
          : [],
      ].flat(),
      shownSeries(),
      `Time and memory${devices.length === 1 ? ` on ${devices[0]}` : ""}; mean time over seeds, largest memory`,
    ),
    h(
      "p",
      { class: "note" },
      "Times are comparable only on one device with the same load. Operations, and learnt numbers where older records lack them: ",
      h("code", {}, "vhbench describe METHOD"),
      ".",
    ),
  );
}

function drawRuns() {
  const counts = {};
  for (const run of [...DATA.runs, ...DATA.unfinished]) counts[run.state] = (counts[run.state] || 0) + 1;
  const states = Object.keys(counts);
  const holder = h("div", {});
  const draw = () => {
    const wanted = state.runText.toLowerCase();
    const rows = DATA.runs.filter(
      (run) =>
        (!state.runState || run.state === state.runState) &&
        `${run.protocol} ${run.method} ${run.bits} bits seed ${run.seed} ${run.id} ${run.reason || ""}`
          .toLowerCase()
          .includes(wanted),
    );
    holder.replaceChildren(runTable(rows));
  };
  const choose = field(
    "State",
    select([["", "all"], ...states.map((one) => [one, `${one} (${counts[one]})`])], state.runState, (chosen) => {
      state.runState = chosen;
      draw();
    }),
  );
  const search = h("input", {
    type: "search",
    value: state.runText,
    oninput: () => {
      state.runText = search.value;
      draw();
    },
  });
  draw();
  const others = [
    ["Without a record", "unfinished", DATA.unfinished.map((one) => [badge(one.state), ` ${one.text}`])],
    ["Damaged files", "damaged", DATA.damaged],
  ];
  put(
    "runs",
    h("p", { id: "counts" }, countText(counts)),
    h("div", { class: "controls" }, choose, field("Search", search)),
    holder,
    others.map(([title, id, lines]) =>
      lines.length
        ? [
            h("h3", {}, title),
            h(
              "ul",
              { id },
              lines.map((line) => h("li", {}, line)),
            ),
          ]
        : null,
    ),
  );
}

function countText(counts) {
  const states = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  const damaged = DATA.damaged.length ? [`${plural(DATA.damaged.length, "damaged file")}`] : [];
  return `${[...states, ...damaged].join(", ")}.`;
}

const badge = (text) => h("span", { class: `state ${text}` }, text);

function runTable(rows) {
  return table(
    "runs",
    [
      { title: "method", text: true, get: (run) => run.method },
      {
        title: "protocol",
        text: true,
        get: (run) => run.protocol,
        show: (run) => `${run.protocol}${run.synthetic ? " (synthetic)" : ""}`,
      },
      { title: "bits", get: (run) => run.bits },
      { title: "seed", get: (run) => run.seed },
      { title: "state", text: true, get: (run) => run.state, show: (run) => badge(run.state) },
      { title: "budget", text: true, get: (run) => run.budget },
      {
        title: "finished",
        text: true,
        get: (run) => run.finished,
        show: (run) => (run.finished || "–").slice(0, 16).replace("T", " "),
      },
      { title: "git", text: true, get: (run) => environment(run).git },
      {
        title: "id",
        text: true,
        get: (run) => run.id,
        show: (run) =>
          h(
            "button",
            { type: "button", "aria-label": `details of run ${run.id.slice(0, 8)}`, onclick: () => openRun(run) },
            run.id.slice(0, 8),
          ),
      },
      rows.some((run) => run.reason)
        ? { title: "reason", text: true, long: true, get: (run) => run.reason, show: (run) => run.reason || "" }
        : [],
    ].flat(),
    rows,
    `${plural(rows.length, "run")}; the id opens what is recorded`,
  );
}

const environment = (run) => DATA.environments[run.environment];

function openRun(run) {
  const dialog = document.getElementById("details");
  const lines = [
    ["state", run.state],
    ["reason", run.reason],
    ["id", run.id],
    ["protocol", `${run.protocol}${run.synthetic ? " (synthetic features)" : ""}`],
    ["bits, seed", `${run.bits}, ${run.seed}`],
    ["budget", `${run.budget}${run.epochs ? `, ${run.epochs} epochs` : ""}, ${run.precision}`],
    ["model taken", run.selection],
    ["hyper-parameters", list(run.params)],
    ["not default", list(run.changed)],
    ["against in-domain", run.gain && list(run.gain)],
    ["method from", run.origin],
    ["its source", run.fingerprint],
    ["vhbench", run.version],
    ["finished", run.finished],
    ["features", run.features],
    ...Object.entries(environment(run)).map(([name, found]) => [
      name,
      found && typeof found === "object" ? list(found) : found,
    ]),
  ];
  dialog.replaceChildren(
    h("h2", { id: "details-title" }, `${run.method}, ${run.bits} bits, seed ${run.seed}`),
    h(
      "dl",
      {},
      lines
        .filter(([, found]) => !missing(found) && found !== "")
        .map(([name, found]) => [h("dt", {}, name), h("dd", {}, String(found))]),
    ),
    h("p", {}, h("a", { href: run.link }, "run.json"), h("span", { class: "soft" }, " (where this page was written)")),
    h("form", { method: "dialog" }, h("button", {}, "Close")),
  );
  dialog.showModal();
}

const list = (values) =>
  Object.entries(values)
    .map(([name, found]) => `${name} = ${JSON.stringify(found)}`)
    .join("; ");
