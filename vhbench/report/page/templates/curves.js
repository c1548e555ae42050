// The score against code length and K, and precision against recall; panels of a row share their scales.

function drawCurves() {
  const shown = shownSeries();
  const set = currentSet();
  if (!set || !shown.length) {
    put("curves", h("p", {}, "There is nothing to draw."));
    return;
  }
  const lengths = rising(shown.map((series) => series.bits));
  const own = set.in_database && state.convention === "strict" ? "drop" : "keep";
  const kind = state.metric.split("@")[0];
  put(
    "curves",
    legend(shown),
    h("h3", {}, `${pretty(state.metric)} against code length`),
    panels("at-bits", [lengths], (_, width) => bitsChart(shown, lengths, width), 240, 1),
    hasK(state.metric)
      ? [h("h3", {}, `${pretty(`${kind}@K`)} against K`), kPanels(shown, set, kind, lengths)]
      : null,
    isMean()
      ? [h("h3", {}, "Precision and recall"), ofOneSplit("curves", "These curves are")]
      : ["rank", "radius"].map((by) => [
          h("h3", {}, `Precision and recall by ${by === "rank" ? "rank" : "Hamming radius"}`),
          recallPanels(shown, by, own, lengths),
        ]),
    note(
      isMean()
        ? "Means over splits, each the mean over its seeds; bars: standard deviation over splits. "
        : "Means over seeds; bars: standard deviation. By rank: precision and recall of the first n items for some n, in " +
            "the expected order of tied items. By radius: of all items within each Hamming distance. ",
      "Panels of a row share their scales. ",
      set.in_database ? `The query's own item is ${own === "keep" ? "kept" : "dropped"}.` : "",
    ),
  );
}

function scoreLine(series, points) {
  return {
    name: series.label,
    text: shortName(series),
    look: look(series),
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

const reach = (point) => (missing(point.y) ? [] : [point.y - (point.sd || 0), point.y + (point.sd || 0)]);

function bitsChart(shown, lengths, width) {
  const lines = unique(shown.map((series) => series.label)).map((label) => {
    const own = shown.filter((series) => series.label === label).sort((x, y) => x.bits - y.bits);
    return scoreLine(
      own[0],
      own.map((series) => [series.bits, score(series), `${series.bits} bits`]),
    );
  });
  const span = lengths.length > 1 ? [lengths[0], lengths[lengths.length - 1]] : [lengths[0] / 2, lengths[0] * 2];
  const references = currentSet()
    .references.map((one) => ({ name: one.name, y: one.scores[state.convention][state.metric] }))
    .filter((one) => !missing(one.y));
  return lineChart(
    "",
    { label: "bits", low: span[0], high: span[1], ticks: lengths, log: true },
    { label: pretty(state.metric), ...scoreRange(lines.flatMap((line) => line.points.flatMap(reach))) },
    lines,
    width,
    { names: true, references, whiskers: true, ratio: width < 560 ? 0.72 : 0.4 },
  );
}

function kPanels(shown, set, kind, lengths) {
  const ofLength = lengths.map((bits) => ({
    bits,
    lines: shown
      .filter((series) => series.bits === bits)
      .map((series) =>
        scoreLine(
          series,
          set.ks.map((k) => [k, score(series, `${kind}@${k}`), pretty(`${kind}@${k}`)]),
        ),
      ),
  }));
  const values = ofLength.flatMap(({ lines }) => lines.flatMap((line) => line.points.map((point) => point.y)));
  const y = { label: pretty(`${kind}@K`), ...scoreRange(values) };
  const last = set.ks[set.ks.length - 1];
  const x = { label: "K", low: set.ks.length > 1 ? set.ks[0] : 0, high: last, ticks: set.ks };
  return panels("at-k", ofLength, ({ bits, lines }, width) => lineChart(`${bits} bits`, x, y, lines, width));
}

function recallPanels(shown, by, own, lengths) {
  const ofLength = lengths.map((bits) => ({
    bits,
    lines: shown
      .filter((series) => series.bits === bits)
      .map((series) => recallLine(series, by, own))
      .filter(Boolean),
  }));
  const points = ofLength.flatMap(({ lines }) => lines.flatMap((line) => line.points));
  const x = { label: "recall", ...scoreRange(points.map((point) => point.x)) };
  const y = { label: "precision", ...scoreRange(points.map((point) => point.y)) };
  return panels(`pr-${by}`, ofLength, ({ bits, lines }, width) => lineChart(`${bits} bits`, x, y, lines, width));
}

function recallLine(series, by, own) {
  const curves = ((series.curves[currentSet().split] || {})[by] || {})[own];
  if (!curves) return null;
  return {
    name: series.label,
    text: shortName(series),
    look: look(series),
    points: curves.at.map((at, place) => ({
      x: curves.recall[place],
      y: curves.precision[place],
      text: `${by} ${at}: recall ${fixed(curves.recall[place])}, precision ${fixed(curves.precision[place])}`,
    })),
  };
}
