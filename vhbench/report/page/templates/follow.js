// Values under the pointer, the finger or the keyboard, and the lines of a name that stand out in every chart.

const REACH = 40; // CSS pixels

function follow(picture, ring, area, points, pick) {
  let at = null; // [line, point]
  const leave = () => {
    ring.setAttribute("visibility", "hidden");
    hideTip();
    emphasise(null);
  };
  const go = (line, place) => {
    at = [line, place];
    const point = points[line][place];
    const shown = picture.getBoundingClientRect();
    ring.setAttribute("cx", point.px);
    ring.setAttribute("cy", point.py);
    ring.setAttribute("visibility", "visible");
    emphasise(point.name || null);
    const zoom = shown.width / area.width;
    showTip(point.text, shown.left + point.px * zoom, shown.top + point.py * zoom);
  };
  const point = (event) => {
    const best = nearest(picture, area, points, event);
    if (best) go(...best);
    else leave();
  };
  picture.addEventListener("pointermove", point);
  picture.addEventListener("pointerdown", point);
  picture.addEventListener("pointerleave", leave);
  picture.addEventListener("blur", leave);
  if (pick) {
    picture.addEventListener("click", (event) => {
      const best = nearest(picture, area, points, event);
      if (best) pick(points[best[0]][best[1]].id);
    });
  }
  picture.addEventListener("keydown", (event) => {
    if (!points.length) return;
    const next = step(event.key, at, points);
    if (event.key === "Escape") leave();
    else if (event.key === "Enter" && pick && at) pick(points[at[0]][at[1]].id);
    else if (next) go(...next);
    else return;
    event.preventDefault();
  });
}

function nearest(picture, area, points, event) {
  const shown = picture.getBoundingClientRect();
  const zoom = area.width / shown.width;
  const [px, py] = [(event.clientX - shown.left) * zoom, (event.clientY - shown.top) * zoom];
  let best = null;
  let least = REACH ** 2;
  points.forEach((line, number) =>
    line.forEach((point, place) => {
      const distance = (point.px - px) ** 2 + (point.py - py) ** 2;
      if (distance < least) [best, least] = [[number, place], distance];
    }),
  );
  return best;
}

function step(pressed, at, points) {
  const [line, place] = at || [0, -1];
  const last = points[line].length - 1;
  const moves = {
    ArrowRight: [line, Math.min(place + 1, last)],
    ArrowLeft: [line, Math.max(place - 1, 0)],
    Home: [line, 0],
    End: [line, last],
    ArrowDown: [(line + 1) % points.length, place],
    ArrowUp: [(line + points.length - 1) % points.length, place],
  };
  if (!moves[pressed]) return null;
  const [to, wanted] = moves[pressed];
  return [to, Math.max(0, Math.min(wanted, points[to].length - 1))];
}

// The pinned names, and the one that is pointed at, stand out; without any all are in colour.
function emphasise(name) {
  const shown = new Set(shownSeries().map((series) => series.label));
  const wanted = new Set([...state.pinned].filter((label) => shown.has(label)));
  if (name) wanted.add(name);
  document.body.classList.toggle("emphasis", wanted.size > 0);
  for (const group of document.querySelectorAll("svg.chart .mark[data-name]")) {
    const on = wanted.has(group.dataset.name);
    if (on && !group.classList.contains("on") && name) group.parentNode.append(group); // above the others
    group.classList.toggle("on", on);
  }
}

function pinButton(series, content) {
  return h(
    "button",
    {
      type: "button",
      class: "pin",
      "aria-pressed": String(state.pinned.has(series.label)),
      "data-name": series.label,
      "data-key": `pin ${series.label}`,
      title: "In colour, the others grey",
      onclick: () => {
        if (!state.pinned.delete(series.label)) state.pinned.add(series.label);
        for (const other of document.querySelectorAll("button.pin")) {
          other.setAttribute("aria-pressed", String(state.pinned.has(other.dataset.name)));
        }
        emphasise(null);
        writeAddress();
      },
      onpointerenter: () => emphasise(series.label),
      onpointerleave: () => emphasise(null),
    },
    swatch(look(series)),
    h("span", {}, content),
  );
}

function legend(shown) {
  const entries = unique(shown.map((series) => series.label)).map((label) =>
    shown.find((series) => series.label === label),
  );
  return h(
    "ul",
    { class: "legend", "aria-label": "Legend; a button makes its line stand out" },
    entries.map((series) => h("li", {}, pinButton(series, shortName(series)))),
  );
}
