// Drawing the page, and following its address and its width.

let drawnWidth = 0;

function drawSections() {
  const set = currentSet();
  drawnWidth = document.querySelector("main").clientWidth;
  hideTip();
  if (set && !metricNames().includes(state.metric)) state.metric = usualMetric();
  document.getElementById("shown").textContent = set
    ? `Shown: ${set.name}; ${state.convention} convention; ${set.names[state.convention][state.metric] || state.metric}`
    : "";
  drawResults();
  drawCurves();
  drawQueries();
  drawClasses();
  drawRetrieved();
  drawCodes();
  drawTraining();
  drawCost();
  drawReading();
  emphasise(null);
  writeAddress();
}

function draw() {
  const names = allSeries().map(key);
  const usual = usualPair();
  if (!names.includes(state.a)) [state.a] = usual;
  if (!names.includes(state.b)) [, state.b] = usual;
  if (currentSet() && !metricNames().includes(state.metric)) state.metric = usualMetric();
  drawBar();
  drawChoice();
  drawPair();
  drawSections();
}

// Shows what the address says.
function showAddress() {
  readAddress();
  draw();
  drawRuns();
  const run = state.run && DATA.runs.find((one) => one.id.startsWith(state.run));
  if (run) openRun(run);
  else document.getElementById("details").close();
  goTo(state.section);
}

function goTo(section) {
  const element = document.getElementById(section);
  if (element) element.scrollIntoView();
}

// Links to sections carry what is shown; the address of the page follows them.
function prepareLinks() {
  for (const link of document.querySelectorAll("#index a, .skip")) link.dataset.section = link.hash.slice(1);
  for (const section of document.querySelectorAll("main > section")) {
    const link = h("a", { class: "anchor", "data-section": section.id, href: `#${section.id}` }, "#");
    link.setAttribute("aria-label", "Link to this view");
    section.querySelector("h2").append(" ", link);
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-section]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    state.section = link.dataset.section;
    writeAddress();
    goTo(state.section);
    if (link.className === "skip") document.getElementById(state.section).querySelector("button, input, a").focus();
  });
}

// Marks where the reader is.
function watchSections() {
  const links = new Map([...document.querySelectorAll("#index a")].map((link) => [link.dataset.section, link]));
  const inView = new Set();
  const watch = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) inView.add(entry.target.id);
        else inView.delete(entry.target.id);
      }
      const first = [...links.keys()].find((id) => inView.has(id));
      for (const [id, link] of links) {
        if (id === first) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
      const list = document.querySelector("#index ul");
      if (first && list.scrollWidth > list.clientWidth) list.scrollLeft = links.get(first).offsetLeft - 40;
    },
    { rootMargin: "-15% 0px -65% 0px" },
  );
  for (const section of document.querySelectorAll("main > section")) watch.observe(section);
}

// Charts are drawn at the size that they have: anew where that changes.
function watchWidth() {
  const main = document.querySelector("main");
  let timer = 0;
  new ResizeObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (Math.abs(main.clientWidth - drawnWidth) >= 4 && !matchMedia("print").matches) drawSections();
    }, 120);
  }).observe(main);
}

const narrow = matchMedia("(max-width: 62rem)");
const foldChoice = () => document.getElementById("choice").toggleAttribute("open", !narrow.matches);
narrow.addEventListener("change", foldChoice);
foldChoice();
drawTop();
prepareLinks();
showAddress();
watchSections();
watchWidth();
addEventListener("hashchange", () => location.hash !== address() && showAddress());
