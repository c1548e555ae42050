// Losses by epoch: a panel a method, on a log axis, with a line where another stage of the training begins.

const LENGTH_LOOKS = [
  ["#0072B2", ""],
  ["#D55E00", "6 3"],
  ["#009E73", "2 2"],
  ["#CC79A7", "7 3 1.5 3"],
  ["#E69F00", "10 3"],
  ["#56B4E9", "3 2"],
  ["#777777", "10 3 3 3"],
];

function drawTraining() {
  const trained = shownSeries()
    .map((series) => ({ ...series, training: trainings(series) }))
    .filter((series) => series.training.some((run) => run.epoch));
  if (!trained.length) {
    put("training", h("p", {}, "None of the methods shown trains in epochs, or their records keep no loss."));
    return;
  }
  const terms = unique(trained.flatMap((series) => series.training.flatMap((run) => Object.keys(run.terms || {}))));
  if (!terms.includes(state.term)) state.term = terms[0];
  const lengths = rising(allSeries().map((series) => series.bits));
  const lookOf = (bits) => {
    const [color, dash] = LENGTH_LOOKS[lengths.indexOf(bits) % LENGTH_LOOKS.length];
    return { color, dash };
  };
  const made = unique(trained.map((series) => series.label))
    .map((label) => lossPanel(trained.filter((series) => series.label === label), lookOf))
    .filter((panel) => panel.lines.length);
  put(
    "training",
    lossControls(terms),
    h(
      "p",
      { class: "keys" },
      rising(trained.map((series) => series.bits)).map((bits) => h("span", {}, swatch(lookOf(bits)), ` ${bits} bits`)),
    ),
    panels("losses", made, lossChart),
    note(
      "Loss by epoch, a line a run. Scales differ from panel to panel because losses do. A vertical line: from there on ",
      "the loss is made of other terms, which is how a log shows a further stage. At most 60 epochs of a run are drawn, ",
      "the first and the last of each stage among them. ",
      made.some((panel) => panel.linear) && state.loss === "log"
        ? "An axis is linear where a loss is not above 0: it has no logarithm."
        : "",
    ),
  );
}

// The runs of a series, with their seeds; in a mean over splits with their splits too.
function trainings(series) {
  return groupsOf(series).flatMap((group) =>
    group.training.map((run, place) => ({
      ...run,
      name: `${isMean() ? `${group.protocol}, ` : ""}seed ${group.seeds[place]}`,
    })),
  );
}

function lossControls(terms) {
  return h(
    "div",
    { class: "controls" },
    field(
      "Term of the loss",
      select(
        "term",
        terms.map((term) => [term, term]),
        state.term,
        (term) => {
          state.term = term;
          writeAddress();
          drawTraining();
        },
      ),
    ),
    radios(
      "Loss axis",
      "loss",
      [
        ["log", "log"],
        ["linear", "linear"],
      ],
      state.loss,
      (loss) => {
        state.loss = loss;
        writeAddress();
        drawTraining();
      },
    ),
  );
}

function lossPanel(own, lookOf) {
  const runs = own.flatMap((series) => series.training.map((run) => ({ ...run, series })));
  const lines = runs
    .filter((run) => run.epoch && run.terms[state.term])
    .map((run) => ({
      name: `${run.series.label}, ${run.series.bits} bits, ${run.name}`,
      text: `${run.series.bits} bits, ${run.name}`,
      look: lookOf(run.series.bits),
      points: run.epoch.flatMap((epoch, at) => [
        ...(run.stages.includes(epoch) ? [{ x: epoch - 0.5, y: null }] : []), // another loss: no line leads to it
        {
          x: epoch,
          y: run.terms[state.term][at],
          text: `epoch ${epoch}: ${state.term} ${rounded(run.terms[state.term][at])}`,
        },
      ]),
    }))
    .filter((line) => line.points.some((point) => !missing(point.y)));
  const values = lines.flatMap((line) => line.points.map((point) => point.y)).filter((y) => !missing(y));
  const stages = rising(runs.flatMap((run) => run.stages || []));
  return { title: shortName(own[0]), lines, values, stages, linear: values.some((y) => y <= 0) };
}

function lossChart({ title, lines, values, stages, linear }, width) {
  const last = Math.max(...lines.flatMap((line) => line.points.map((point) => point.x)));
  const first = Math.min(1, last - 1);
  const y = { label: state.term, ...lossRange(values, state.loss === "log" && !linear) };
  return lineChart(
    title,
    { label: "epoch", low: first, high: last, ticks: unique([1, ...niceTicks(1, last, 5).filter(Number.isInteger)]) },
    state.loss === "log" && linear ? { ...y, label: `${state.term} (linear)` } : y,
    lines,
    width,
    { marks: stages.map((epoch, n) => ({ x: epoch - 0.5, text: `stage ${n + 2}` })) },
  );
}
