// Precision-recall curves, mAP against K and code length, and training curves.

const LENGTH_COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777"];
const top01 = (values) => Math.min(1, Math.max(0.05, ...values) * 1.06);

function drawCurves() {
  const shown = shownSeries();
  const set = currentSet();
  const lengths = unique(shown.map((series) => series.bits)).sort((x, y) => x - y);
  const own = set && set.in_database && state.convention === "strict" ? "drop" : "keep";
  const labels = unique(shown.map((series) => series.label));
  const entries = labels.map((label) => [label, labelStyle(shown.find((series) => series.label === label))]);
  const kind = state.metric.split("@")[0];
  const parts = [legend(entries)];
  for (const by of ["rank", "radius"]) {
    const panels = lengths.map((bits) =>
      recallChart(
        shown.filter((series) => series.bits === bits),
        by,
        own,
        `${bits} bits`,
      ),
    );
    parts.push(
      h("h3", {}, `Precision and recall by ${by === "rank" ? "rank" : "Hamming radius"}`),
      h("div", { class: "panels", id: `pr-${by}` }, panels),
    );
  }
  if (hasK(state.metric)) {
    parts.push(
      h("h3", {}, `${pretty(kind + "@K")} against K`),
      h(
        "div",
        { class: "panels", id: "at-k" },
        lengths.map((bits) => kChart(shown, set, kind, bits)),
      ),
    );
  }
  parts.push(
    h("h3", {}, `${pretty(state.metric)} against code length`),
    h("div", { class: "panels", id: "at-bits" }, lengths.length ? bitsChart(shown, lengths) : null),
  );
  parts.push(
    h(
      "p",
      { class: "note" },
      "Means over seeds; bars: standard deviation. By rank: precision and recall of the first ",
      "n items for some n, in the expected order of tied items. By radius: of all items within each Hamming distance. ",
      set && set.in_database ? `The query's own item is ${own === "keep" ? "kept" : "dropped"}.` : "",
    ),
  );
  put("curves", ...parts);
}

function recallChart(shown, by, own, title) {
  const lines = shown
    .map((series) => {
      const curves = ((series.curves[currentSet().split] || {})[by] || {})[own];
      return (
        curves && {
          name: series.label,
          style: labelStyle(series),
          points: curves.at.map((at, place) => ({
            x: curves.recall[place],
            y: curves.precision[place],
            text: `${by} ${at}: recall ${fixed(curves.recall[place])}, precision ${fixed(curves.precision[place])}`,
          })),
        }
      );
    })
    .filter(Boolean);
  const unit = { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] };
  return lineChart(title, { label: "recall", ...unit }, { label: "precision", ...unit }, lines);
}

function scoreLine(series, points) {
  return {
    name: series.label,
    style: labelStyle(series),
    points: points
      .filter(([, found]) => found)
      .map(([x, found, text]) => ({
        x,
        y: found[0],
        sd: found[1],
        text: `${text}: ${fixed(found[0])}${missing(found[1]) ? "" : ` ± ${fixed(found[1])}`}`,
      })),
  };
}

function kChart(shown, set, kind, bits) {
  const lines = shown
    .filter((series) => series.bits === bits)
    .map((series) =>
      scoreLine(
        series,
        set.ks.map((k) => [k, score(series, `${kind}@${k}`), `${kind}@${k}`]),
      ),
    );
  const high = top01(lines.flatMap((line) => line.points.map((point) => point.y)));
  const last = set.ks[set.ks.length - 1];
  return lineChart(
    `${bits} bits`,
    { label: "K", low: 0, high: last, ticks: set.ks.filter((k) => k >= last / 12) },
    { label: pretty(`${kind}@K`), low: 0, high },
    lines,
  );
}

function bitsChart(shown, lengths) {
  const lines = unique(shown.map((series) => series.label)).map((label) => {
    const own = shown.filter((series) => series.label === label).sort((x, y) => x.bits - y.bits);
    return scoreLine(
      own[0],
      own.map((series) => [series.bits, score(series), `${series.bits} bits`]),
    );
  });
  const high = top01(lines.flatMap((line) => line.points.map((point) => point.y)));
  const span = lengths.length > 1 ? [lengths[0], lengths[lengths.length - 1]] : [lengths[0] / 2, lengths[0] * 2];
  return lineChart(
    "",
    { label: "bits", low: span[0], high: span[1], ticks: lengths, log: true },
    { label: pretty(state.metric), low: 0, high },
    lines,
  );
}

function drawTraining() {
  const trained = shownSeries().filter((series) => series.training.some((run) => run.epoch));
  if (!trained.length) {
    put("training", h("p", {}, "None of the methods shown trains in epochs, or their records keep no loss."));
    return;
  }
  const terms = unique(trained.flatMap((series) => series.training.flatMap((run) => Object.keys(run.terms || {}))));
  if (!terms.includes(state.term)) state.term = terms[0];
  const lengths = unique(allSeries().map((series) => series.bits)).sort((x, y) => x - y);
  const style = (bits) => ({
    color: LENGTH_COLORS[lengths.indexOf(bits) % LENGTH_COLORS.length],
    marker: "o",
    linestyle: "-",
  });
  const panels = unique(trained.map((series) => series.label)).map((label) => {
    const lines = trained
      .filter((series) => series.label === label)
      .flatMap((series) =>
        series.training.map((run, place) => ({
          name: `${series.bits} bits, seed ${series.seeds[place]}`,
          style: style(series.bits),
          points: (run.epoch && run.terms[state.term] ? run.epoch : []).map((epoch, at) => ({
            x: epoch,
            y: run.terms[state.term][at],
            text: `epoch ${epoch}: ${state.term} ${rounded(run.terms[state.term][at])}`,
          })),
        })),
      )
      .filter((line) => line.points.length);
    return lines.length ? lossChart(label, lines) : null;
  });
  const choose = field(
    "Term of the loss",
    select(
      terms.map((term) => [term, term]),
      state.term,
      (term) => {
        state.term = term;
        drawTraining();
        document.querySelector("#training select").focus();
      },
    ),
  );
  const shownLengths = unique(trained.map((series) => series.bits)).sort((x, y) => x - y);
  put(
    "training",
    h("div", { class: "controls" }, choose),
    h(
      "p",
      { class: "soft" },
      shownLengths.map((bits) => [swatch(style(bits)), ` ${bits} bits   `]),
    ),
    h("div", { class: "panels" }, panels),
    h(
      "p",
      { class: "note" },
      "Loss by epoch, a line a run; scales differ from panel to panel because losses do. ",
      "At most 60 epochs of a run are drawn, the first and the last among them.",
    ),
  );
}

function lossChart(label, lines) {
  const points = lines.flatMap((line) => line.points).filter((point) => !missing(point.y));
  const [ys, last] = [points.map((point) => point.y), Math.max(...points.map((point) => point.x))];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const room = (high - low || Math.abs(high) || 1) * 0.05;
  return lineChart(
    label,
    { label: "epoch", low: Math.min(1, last - 1), high: last, ticks: niceTicks(1, last).filter(Number.isInteger) },
    { label: state.term, low: low - room, high: high + room },
    lines,
  );
}
