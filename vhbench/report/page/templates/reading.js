// The head of the page, and what its words mean.

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
  const synthetic = DATA.sets.filter((set) => set.synthetic && !set.folds).map((set) => set.name);
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
        ...(set.folds ? [["splits", `${set.folds.join(", ")}: the mean weighs all alike, its ± is over the splits`]] : []),
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
