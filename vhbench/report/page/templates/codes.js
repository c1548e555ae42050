// Audits of the codes, and what they cost.

function drawCodes() {
  const rows = shownSeries();
  const metric = state.metric.startsWith("map@") ? state.metric : currentSet() ? currentSet().views.metric : "";
  const audit = (title, name, digits, help) => ({
    title,
    help,
    get: (series) => series.audit[name],
    mark: (series) => (series.bad[name] ? "bad" : ""),
    show: (series) => [
      digits ? fixed(series.audit[name], digits) : rounded(series.audit[name]),
      series.bad[name] ? h("span", { class: "alert", title: series.bad[name] }, "!") : null,
    ],
  });
  const tie = (order) => (series) => (series.scores.literature[`${metric}[ties=${order}]`] || [null])[0];
  const [worst, best] = [tie("worst"), tie("best")];
  put(
    "codes",
    table(
      "codes",
      [
        nameColumn(),
        bitsColumn(),
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
      isMean() ? "Database codes as a hash; means over splits and seeds" : "Database codes as a hash; means over seeds",
    ),
    badCells(rows),
    tunedNote(rows),
    note(
      "Balance: mean and largest |share of ones − 0.5| over bits, 0 is ideal. Correlation: absolute, of pairs of ",
      "live bits. Tie span: ",
      pretty(metric),
      " in the literature's convention with tied items in the worst and in the best order.",
    ),
  );
}

function badCells(rows) {
  const bad = rows.filter((series) => Object.keys(series.bad).length);
  const lines = bad.map((series) =>
    h("li", {}, `${shortName(series)}, ${series.bits} bits: ${Object.values(series.bad).join("; ")}`),
  );
  if (!lines.length) return note("No audit finds anything wrong with these codes.");
  return h("div", { class: "alerts" }, h("p", {}, "! What the audits find wrong, in one seed at least:"), h("ul", {}, lines));
}

function drawCost() {
  const cost = (title, name, help) => ({
    title,
    help,
    get: (series) => series.cost[name],
    show: (series) => rounded(series.cost[name]),
  });
  const shown = shownSeries();
  const devices = unique(shown.flatMap((series) => series.cost.devices));
  put(
    "cost",
    table(
      "cost",
      [
        nameColumn(),
        bitsColumn(),
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
      shown,
      `Time and memory${devices.length === 1 ? ` on ${devices[0]}` : ""}; mean time ` +
        `over ${isMean() ? "splits and seeds" : "seeds"}, largest memory`,
    ),
    tunedNote(shown),
    note(
      "Times are comparable only on one device with the same load. Operations, and learnt numbers where older records lack them: ",
      h("code", {}, "vhbench describe METHOD"),
      ".",
    ),
  );
}
