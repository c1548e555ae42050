// What is shown: protocol, metric, convention and axes, and the methods and code lengths, which are the legend too.

// Takes over a choice, keeps it in the address, and draws the sections anew.
function change(values) {
  Object.assign(state, values);
  drawSections();
}

function drawBar() {
  const sets = DATA.sets.map((one, place) => [
    String(place),
    `${one.name}${one.folds ? `: mean over ${one.folds_of} splits` : ""}${one.synthetic ? " (synthetic)" : ""}`,
  ]);
  const metrics = currentSet() ? metricNames() : [];
  const bar = document.getElementById("bar");
  bar.replaceChildren(
    field(
      "Protocol",
      select("protocol", sets, String(state.set), (chosen) => {
        const { convention, axes } = state;
        Object.assign(state, startState(), { convention, axes, set: Number(chosen) });
        draw();
        focusKey(bar, "protocol");
      }),
      { id: "protocol" },
    ),
    field(
      "Metric",
      select(
        "metric",
        metrics.map((one) => [one, pretty(one)]),
        state.metric,
        (metric) => change({ metric }),
      ),
      { id: "metric" },
    ),
    radios(
      "Convention",
      "convention",
      Object.keys(DATA.conventions).map((one) => [one, one]),
      state.convention,
      (convention) => change({ convention }),
    ),
    radios(
      "Axes",
      "axes",
      [
        ["fit", "fit the data"],
        ["unit", "0 to 1"],
      ],
      state.axes,
      (axes) => change({ axes }),
    ),
  );
}

function drawChoice() {
  const all = allSeries();
  const labels = unique(all.map((one) => one.label));
  const rows = labels.map((label) => methodRow(all.find((one) => one.label === label)));
  const search = searchBox("Search methods", "find", state.find, (find) => {
    state.find = find;
    hideRows(rows);
    drawSections();
  });
  search.id = "find";
  document.querySelector("#choice > div").replaceChildren(
    h("fieldset", { id: "lengths" }, h("legend", {}, "Code lengths"), lengthBoxes(all)),
    search,
    h(
      "div",
      { class: "all" },
      allButton("all", rows, (hidden) => hidden.clear()),
      allButton("none", rows, (hidden) => labels.filter(isFound).forEach((label) => hidden.add(label))),
    ),
    h("ul", { id: "methods", "aria-label": "Methods" }, rows),
  );
  hideRows(rows);
}

// links to this view of each split that the mean shown is over
function splitLinks(section) {
  return currentSet().folds.map((name, place) => [place ? ", " : "", h("a", { href: addressOf(name, section) }, name)]);
}

const ofOneSplit = (section, what) => h("p", {}, `${what} of one split each: `, splitLinks(section), ".");

function lengthBoxes(all) {
  const one = (bits) => {
    const box = checkBox(bits, `bits ${bits}`, state.hiddenBits);
    return h("label", {}, box, `${bits}`);
  };
  return h("div", { class: "chips" }, rising(all.map((series) => series.bits)).map(one));
}

function checkBox(option, name, hidden) {
  const box = h("input", {
    type: "checkbox",
    value: option,
    checked: !hidden.has(option),
    "data-key": name,
    onchange: () => {
      if (box.checked) hidden.delete(option);
      else hidden.add(option);
      drawSections();
    },
  });
  return box;
}

function methodRow(series) {
  const box = checkBox(series.label, `show ${series.label}`, state.hiddenLabels);
  box.setAttribute("aria-label", `show ${series.label}`);
  return h("li", { "data-label": series.label }, box, pinButton(series, nameOf(series)));
}

function allButton(title, rows, act) {
  const press = () => {
    act(state.hiddenLabels);
    for (const row of rows) row.querySelector("input").checked = !state.hiddenLabels.has(row.dataset.label);
    drawSections();
  };
  return h("button", { type: "button", onclick: press }, title);
}

function hideRows(rows) {
  for (const row of rows) row.hidden = !isFound(row.dataset.label);
}
