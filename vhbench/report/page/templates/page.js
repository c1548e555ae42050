// The controls of the whole page, and drawing it.

function drawBar() {
  const set = currentSet();
  const names = set ? unique([...Object.keys(set.names.literature), ...Object.keys(set.names.strict)]) : [];
  const metrics = names.filter((name) => !name.includes("["));
  if (!metrics.includes(state.metric)) state.metric = set ? set.views.metric || metrics[0] : "";
  const bits = unique(allSeries().map((series) => series.bits)).sort((x, y) => x - y);
  const labels = unique(allSeries().map((series) => series.label));
  const sets = DATA.sets.map((one, place) => [String(place), `${one.name}${one.synthetic ? " (synthetic)" : ""}`]);
  document.getElementById("bar").replaceChildren(
    field(
      "Protocol",
      select(sets, String(state.set), (chosen) => {
        state.set = Number(chosen);
        choosePair();
        draw();
        document.querySelector("#bar select").focus();
      }),
    ),
    radios(
      "Convention",
      "convention",
      Object.keys(DATA.conventions).map((one) => [one, one]),
      state.convention,
      (chosen) => {
        state.convention = chosen;
        drawSections();
      },
    ),
    field(
      "Metric",
      select(
        metrics.map((one) => [one, one]),
        state.metric,
        (chosen) => {
          state.metric = chosen;
          drawSections();
        },
      ),
    ),
    h(
      "details",
      { class: "filters" },
      h("summary", {}, "Methods and code lengths"),
      checks(
        "Code lengths",
        bits.map((one) => [one, `${one} bits`]),
        state.hiddenBits,
      ),
      checks(
        "Methods",
        labels.map((label) => {
          const series = allSeries().find((one) => one.label === label);
          return [label, [swatch(labelStyle(series)), label]];
        }),
        state.hiddenLabels,
      ),
    ),
  );
}

function checks(title, options, hidden) {
  const boxes = options.map(([option, content]) => {
    const box = h("input", {
      type: "checkbox",
      value: option,
      checked: !hidden.has(option),
      onchange: () => {
        if (box.checked) hidden.delete(option);
        else hidden.add(option);
        drawSections();
      },
    });
    return [box, option, content];
  });
  const all = (shown) =>
    h(
      "button",
      {
        type: "button",
        onclick: () => {
          for (const [box, option] of boxes) {
            box.checked = shown;
            if (shown) hidden.delete(option);
            else hidden.add(option);
          }
          drawSections();
        },
      },
      shown ? "all" : "none",
    );
  return h(
    "fieldset",
    {},
    h("legend", {}, title),
    h(
      "div",
      { class: "choices" },
      boxes.map(([box, , content]) => h("label", {}, box, content)),
      all(true),
      all(false),
    ),
  );
}

function drawTop() {
  const finished = DATA.runs
    .map((run) => run.finished)
    .filter(Boolean)
    .sort();
  const done = DATA.runs.filter((run) => run.state === "done" || run.state === "stale").length;
  const days = unique([finished[0], finished[finished.length - 1]].filter(Boolean).map((time) => time.slice(0, 10)));
  document.getElementById("summary").textContent = [
    `${plural(done, "finished run")} of ${plural(DATA.runs.length + DATA.unfinished.length, "run")}`,
    days.length ? `finished ${days.join(" to ")}` : "",
    `page by vhbench ${DATA.version}`,
  ]
    .filter(Boolean)
    .join("; ");
  const synthetic = DATA.sets.filter((set) => set.synthetic).map((set) => set.name);
  document.getElementById("lacking").append(
    synthetic.length
      ? h("p", { class: "warn" }, `Synthetic features, not results on real videos: ${synthetic.join(", ")}.`)
      : "",
    DATA.lacking.length
      ? h(
          "details",
          {},
          h("summary", {}, `${plural(DATA.lacking.length, "thing")} this page could not show`),
          h(
            "ul",
            {},
            DATA.lacking.map((text) => h("li", {}, text)),
          ),
        )
      : "",
  );
}

function drawReading() {
  const set = currentSet();
  const facts = set
    ? [
        ["version", set.version],
        ["queries", list(set.queries)],
        ["queries in database", set.in_database ? "yes" : "no"],
        ...Object.entries(set.digests).map(([role, digest]) => [`${role} digest`, digest]),
        ...Object.entries(set.notes).map(([name, found]) => [name, JSON.stringify(found)]),
      ]
    : [];
  put(
    "reading",
    h(
      "p",
      {},
      h("b", {}, "literature"),
      ` (${list(DATA.conventions.literature)}): AP divides by K, tied items count with the expected value over all `,
      "their orders, and the query's own item is kept where it is in the database. It is what released video hashing ",
      "code reports, less its random order of ties.",
    ),
    h(
      "p",
      {},
      h("b", {}, "strict"),
      ` (${list(DATA.conventions.strict)}): AP divides by min(R, K), as the papers print it, and the query's own `,
      "item is dropped where it is in the database.",
    ),
    h(
      "p",
      {},
      "A number's full name, as in ",
      h("code", {}, "map@20[den=k,ties=expected,self=keep]"),
      ", carries its choices. Queries without any relevant item are left out and counted. Runs that differ in the ",
      "seed alone are averaged; runs that differ in anything else stand in rows of their own.",
    ),
    h(
      "p",
      {},
      "ndcg@K: an item is relevant or not, and counts 1 / log2(1 + rank). mrr: 1 / rank of the first relevant item. ",
      "precision@r2: precision of all items within Hamming distance 2, 0 for a query with nothing there.",
    ),
    set
      ? [
          h("h3", {}, set.name),
          h(
            "dl",
            {},
            facts.map(([name, found]) => [h("dt", {}, name), h("dd", {}, String(found))]),
          ),
        ]
      : "",
  );
}

function drawSections() {
  const set = currentSet();
  hideTip();
  document.getElementById("shown").textContent = set
    ? `Shown: ${set.name}; ${state.convention} convention; ${set.names[state.convention][state.metric] || state.metric}`
    : "";
  drawResults();
  drawCurves();
  drawQueries();
  drawClasses();
  drawRetrieved();
  drawCodes();
  drawTraining();
  drawCost();
  drawReading();
}

function draw() {
  drawBar();
  drawPair();
  drawSections();
}

drawTop();
drawRuns();
state.metric = currentSet() ? currentSet().views.metric || "" : "";
choosePair();
draw();
