// Every run: its state, and where its numbers come from.

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
    const tuned = unique(rows.map((run) => run.tuned).filter(Boolean));
    holder.replaceChildren(runTable(rows), ...tuned.map((text) => note(`¶: ${text}`)));
  };
  const choose = field(
    "State",
    select(
      "run state",
      [["", "all"], ...states.map((one) => [one, `${one} (${counts[one]})`])],
      state.runState,
      (chosen) => {
        state.runState = chosen;
        writeAddress();
        draw();
      },
    ),
  );
  const search = searchBox("Search runs", "run text", state.runText, (text) => {
    state.runText = text;
    writeAddress();
    draw();
  });
  draw();
  const others = [
    ["Without a record", "unfinished", DATA.unfinished.map((one) => [badge(one.state), ` ${one.text}`])],
    ["Damaged files", "damaged", DATA.damaged],
  ];
  put(
    "runs",
    h("p", { id: "counts" }, countText(counts)),
    h("div", { class: "controls" }, choose, search),
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
      {
        title: "method",
        text: true,
        get: (run) => run.method,
        show: (run) => [run.method, run.tuned ? h("span", { title: run.tuned }, " ¶") : null],
      },
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
            {
              type: "button",
              "aria-label": `details of run ${run.id.slice(0, 8)}`,
              "data-key": `run ${run.id}`,
              onclick: () => openRun(run),
            },
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
    ["setting", run.tuned],
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
  state.run = run.id.slice(0, 12);
  writeAddress();
  if (!dialog.open) dialog.showModal();
}

document.getElementById("details").addEventListener("close", () => {
  state.run = "";
  writeAddress();
});

const list = (values) =>
  Object.entries(values)
    .map(([name, found]) => `${name} = ${JSON.stringify(found)}`)
    .join("; ");
