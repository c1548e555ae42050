// Two methods class by class, and what they retrieve.

function noLabels(views) {
  return [
    h("p", { class: "warn" }, `${views.no_labels || "There is nothing to show."} `),
    views.advice ? h("p", {}, "Give the data to see this section: ", h("code", {}, views.advice)) : null,
  ];
}

function drawClasses() {
  if (isMean()) {
    put("classes", ofOneSplit("classes", "Means of classes are"));
    return;
  }
  const [a, b, views] = [find(state.a), find(state.b), currentSet() ? currentSet().views : {}];
  if (!views.class_names || !a.classes || !b.classes || !a.classes[state.convention] || !b.classes[state.convention]) {
    put("classes", ...noLabels(views));
    return;
  }
  const rows = views.class_numbers
    .map((number, place) => ({
      name: className(number),
      queries: views.class_queries[place],
      a: a.classes[state.convention][place],
      b: b.classes[state.convention][place],
    }))
    .map((row) => ({ ...row, difference: missing(row.a) || missing(row.b) ? null : row.a - row.b }));
  const axis = scoreRange(rows.flatMap((row) => [row.a, row.b]));
  const width = Math.max(140, Math.min(560, sectionWidth() - 440));
  put(
    "classes",
    table(
      "classes",
      [
        { title: "class", text: true, get: (row) => row.name },
        { title: "queries", get: (row) => row.queries },
        { title: "A", get: (row) => row.a, show: (row) => fixed(row.a) },
        { title: "B", get: (row) => row.b, show: (row) => fixed(row.b) },
        { title: "A − B", get: (row) => row.difference, show: (row) => signed(row.difference) },
        {
          title: "A and B",
          plain: true,
          show: (row) => dumbbell(row, axis, width),
          below: scaleBar(axis, width),
        },
      ],
      rows,
      `${pretty(views.metric)} of the queries of each class. A: ${state.a}; B: ${state.b}`,
    ),
    note("Means over all queries and seeds; a query of several classes counts in each of them."),
  );
}

// A and B of a class on the scale of all classes
function dumbbell(row, axis, width) {
  const x = placeOn(axis, width);
  const both = !missing(row.a) && !missing(row.b);
  return s(
    "svg",
    { class: "whisk", viewBox: `0 0 ${width} 16`, width, height: 16, "aria-hidden": "true" },
    axis.ticks.map((tick) => s("path", { class: "grid", d: `M${x(tick)} 0V16` })),
    both
      ? [
          s("path", { class: "between", d: `M${x(row.a)} 8H${x(row.b)}` }),
          s("circle", { class: "dot-a", cx: x(row.a), cy: 8, r: 4.5 }),
          s("path", { class: "dot-b", d: `M${x(row.b)} 3.5l4.5 4.5l-4.5 4.5l-4.5-4.5z` }),
        ]
      : null,
  );
}

function drawRetrieved() {
  if (isMean()) {
    put("retrieved", ofOneSplit("retrieved", "Retrieved videos are"));
    return;
  }
  const [a, b, views] = [find(state.a), find(state.b), currentSet() ? currentSet().views : {}];
  if (!views.examples || !a.top || !b.top) {
    put(
      "retrieved",
      ...(views.no_labels
        ? noLabels(views)
        : [h("p", {}, "The codes of these methods are not there to search again.")]),
    );
    return;
  }
  const pictures = views.pictures;
  const picture = (role, row, text) => (pictures[role][row] ? h("img", { src: pictures[role][row], alt: text }) : null);
  const item = ([row, distance, hit]) =>
    h(
      "div",
      { class: `item ${hit ? "hit" : "miss"}` },
      picture("database", row, `frames of item ${row}`),
      h("b", {}, hit ? "✓ " : "✗ "),
      classText(views.item_classes[row]),
      videoName(views.item_names[row]) || h("br"),
      `item ${row}, distance ${distance}`,
    );
  const results = (letter, series, place) =>
    h(
      "div",
      { class: "row" },
      h("div", {}, h("span", { class: `dot-${letter.toLowerCase()}` }, letter === "A" ? "●" : "◆"), ` ${letter}: ${key(series)}`),
      series.top[place].map(item),
    );
  put(
    "retrieved",
    h(
      "p",
      {},
      "The first five videos that each method finds, for queries drawn at random with a fixed seed, not by result. ",
      h("b", {}, "✓"),
      " and a green border: shares a class with the query; ",
      h("b", {}, "✗"),
      " and a dashed red border: does not.",
    ),
    h("div", { class: "examples" }, views.examples.map((row, place) =>
      h(
        "div",
        { class: "example" },
        h("h3", {}, `Query ${row}: ${classText(views.example_classes[place])}`, videoName(views.example_names[place])),
        pictures.query[row] ? h("div", { class: "query" }, picture("query", row, `frames of query ${row}`)) : null,
        results("A", a, place),
        results("B", b, place),
      ),
    )),
    note(
      "Searched again in the recorded codes of the first seed; items at the same Hamming distance stand in ",
      "database order, and the query's own item is left out. ",
      Object.keys(pictures.database).length
        ? "Pictures: frames of the video from left to right."
        : "This protocol has no frames to show.",
    ),
  );
}
