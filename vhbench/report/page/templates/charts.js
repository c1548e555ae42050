// Charts in inline SVG: lines and dots, drawn at the size that they are shown at.

const EDGE = { left: 40, right: 10, top: 20, bottom: 34 };
const ROW = 13; // of labels beside lines

function box(width, ratio, right = EDGE.right) {
  const height = Math.round(Math.max(190, Math.min(420, width * ratio)));
  return { width, height, left: EDGE.left, right: width - right, top: EDGE.top, bottom: height - EDGE.bottom };
}

function frame(xAxis, yAxis, x, y, area) {
  const ticks = xAxis.ticks || niceTicks(xAxis.low, xAxis.high);
  const clear = clearTicks(ticks, x);
  const places = (yAxis.ticks || niceTicks(yAxis.low, yAxis.high)).filter(
    (tick, n, all) => n === 0 || Math.abs(y(tick) - y(all[n - 1])) >= ROW,
  );
  return [
    places.map((tick) => [
      s("path", { class: "grid", d: `M${area.left} ${y(tick)}H${area.right}` }),
      s("text", { x: area.left - 6, y: y(tick) + 4, "text-anchor": "end" }, tickText(tick)),
    ]),
    ticks.map((tick) => s("path", { class: "tick", d: `M${x(tick)} ${area.bottom}v4` })),
    clear.map((tick) => s("text", { x: x(tick), y: area.bottom + 15, "text-anchor": "middle" }, tickText(tick))),
    s("path", { class: "axis", d: `M${area.left} ${area.bottom}H${area.right}` }),
    s("text", { class: "title", x: area.right, y: area.height - 4, "text-anchor": "end" }, xAxis.label),
    s("text", { class: "title", x: 2, y: 10 }, yAxis.label),
  ];
}

// A line: name, text (what the tip calls it), look, points [{ x, y, sd, text }]; y null: a gap.
// options: names (direct labels), references [{ name, y }], marks [{ x, text }]: vertical lines
function lineChart(title, xAxis, yAxis, lines, width, options = {}) {
  const labelled = options.names && width >= 560 && lines.length > 1;
  const room = labelled ? Math.max(...lines.map((line) => textWidth(line.text))) + 30 : EDGE.right;
  const area = box(width, options.ratio || 0.72, room);
  if (labelled) area.height = Math.max(area.height, lines.length * ROW + EDGE.top + EDGE.bottom);
  area.bottom = area.height - EDGE.bottom;
  const [x, y] = [scale(xAxis, area.left, area.right), scale(yAxis, area.bottom, area.top)];
  const drawn = lines.map((line) => ({
    ...line,
    points: line.points.map((point) => ({ ...point, off: missing(point.y) || missing(point.x) })),
  }));
  const inside = (options.references || []).filter((one) => one.y >= yAxis.low && one.y <= yAxis.high);
  const content = [
    frame(xAxis, yAxis, x, y, area),
    referenceLines(inside, y, area),
    (options.marks || []).map((mark) => stageMark(mark, x, area)),
    drawn.map((line) => lineGroup(line, x, y, options.whiskers)),
    labelled ? endLabels(drawn, x, y, area) : null,
  ];
  const points = drawn.map((line) =>
    line.points
      .filter((point) => !point.off)
      .map((point) => ({ px: x(point.x), py: y(point.y), name: line.name, text: `${line.text}\n${point.text}` })),
  );
  return figure(title, area, content, points, {});
}

function lineGroup(line, x, y, whiskers) {
  let pen = "M";
  const path = [];
  for (const point of line.points) {
    if (!point.off) path.push(`${pen}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`);
    pen = point.off ? "M" : "L";
  }
  const shown = line.points.filter((point) => !point.off);
  const every = Math.max(1, Math.ceil(shown.length / 7)); // markers on some points only
  return colored(
    s(
      "g",
      { class: "mark", "data-name": line.name },
      s("path", { class: "line", d: path.join(""), "stroke-dasharray": line.look.dash }),
      whiskers
        ? shown
            .filter((point) => point.sd)
            .map((point) =>
              s("path", { class: "whisker", d: `M${x(point.x)} ${y(point.y - point.sd)}V${y(point.y + point.sd)}` }),
            )
        : null,
      line.look.marker
        ? shown.filter((_, place) => place % every === 0).map((point) => marker(line.look, x(point.x), y(point.y)))
        : null,
    ),
    line.look.color,
  );
}

function endLabels(lines, x, y, area) {
  const labels = lines
    .map((line) => {
      const last = line.points.filter((point) => !point.off).pop();
      return last && { y: y(last.y), at: y(last.y), from: x(last.x), line };
    })
    .filter(Boolean);
  spread(labels, ROW, area.top - 4, area.bottom);
  return labels.map((label) =>
    colored(
      s(
        "g",
        { class: "mark", "data-name": label.line.name },
        s("path", { class: "lead", d: `M${label.from + 5} ${label.at}L${area.right + 20} ${label.y}` }),
        s("text", { class: "end", x: area.right + 24, y: label.y + 4 }, label.line.text),
      ),
      label.line.look.color,
    ),
  );
}

function referenceLines(references, y, area) {
  const labels = references.map((one) => ({ y: y(one.y) - 4, name: one.name }));
  spread(labels, ROW, area.top + 12, area.bottom - 4);
  return [
    references.map((one) => s("path", { class: "reference", d: `M${area.left} ${y(one.y)}H${area.right}` })),
    labels.map((one) => s("text", { class: "halo", x: area.left + 8, y: one.y }, one.name)),
  ];
}

function stageMark(mark, x, area) {
  return [
    s("path", { class: "stage", d: `M${x(mark.x)} ${area.top}V${area.bottom}` }),
    s("text", { class: "halo", x: x(mark.x) + 4, y: area.top + 9 }, mark.text),
  ];
}

// points: [{ x, y, text, id }]; chosen is the id of the one that is ringed; pick(id) is called for one that is clicked
function dotChart(title, xAxis, yAxis, dots, width, chosen, pick) {
  const area = box(width, 0.9);
  const [x, y] = [scale(xAxis, area.left, area.right), scale(yAxis, area.bottom, area.top)];
  const path = s("path", {
    class: "dots",
    d: dots.map((dot) => `M${x(dot.x).toFixed(1)} ${y(dot.y).toFixed(1)}h0`).join(""),
  });
  const [low, high] = [Math.max(xAxis.low, yAxis.low), Math.min(xAxis.high, yAxis.high)];
  const ringed = dots.find((dot) => dot.id === chosen);
  const points = dots.map((dot) => ({ px: x(dot.x), py: y(dot.y), text: dot.text, id: dot.id }));
  const content = [
    frame(xAxis, yAxis, x, y, area),
    low < high ? s("path", { class: "guide", d: `M${x(low)} ${y(low)}L${x(high)} ${y(high)}` }) : null,
    path,
    ringed ? s("circle", { class: "pick", cx: x(ringed.x), cy: y(ringed.y), r: 6 }) : null,
  ];
  return figure(title, area, content, [points], { pick });
}

function figure(title, area, content, points, { pick }) {
  const ring = s("circle", { class: "ring", r: 5, visibility: "hidden" });
  const picture = s(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${area.width} ${area.height}`,
      tabindex: 0,
      role: "application",
      "aria-roledescription": "chart",
      "aria-label": `${title}. Arrow keys go from point to point${pick ? ", Enter chooses one" : ""}.`,
      "data-key": `chart ${title}`,
    },
    content,
    ring,
  );
  picture.style.setProperty("--width", `${area.width}px`);
  follow(
    picture,
    ring,
    area,
    points.filter((line) => line.length),
    pick,
  );
  return h("figure", {}, title ? h("figcaption", {}, title) : null, picture);
}
