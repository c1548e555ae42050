// What the tests of the page's looks measure, in the page itself.

// Elements that reach beyond the window, outside of what scrolls by itself.
function tooWide() {
  const room = document.documentElement.clientWidth + 1;
  return [...document.querySelectorAll("main *, header *, #bar *, #choice *")]
    .filter((x) => !x.closest(".scroll, select, svg") && x.getClientRects().length)
    .filter((x) => x.getBoundingClientRect().right > room)
    .map((x) => x.tagName + x.id + x.className);
}

const isSeen = (x) => getComputedStyle(x).visibility === "visible" && x.getClientRects().length > 0;

function textNodes(root, keep = isSeen) {
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walk.nextNode()) {
    if (walk.currentNode.textContent.trim() && keep(walk.currentNode.parentElement)) found.push(walk.currentNode);
  }
  return found;
}

// Boxes of letters, as far as they are not scrolled away: a line's box is a little higher than what is drawn of it.
function boxesOf(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  const holder = node.parentElement.closest(".scroll, #side");
  const clip = holder ? holder.getBoundingClientRect() : { left: 0, right: 1e6, top: -1e6, bottom: 1e6 };
  return [...range.getClientRects()]
    .map((r) => ({
      left: Math.max(r.left, clip.left),
      right: Math.min(r.right, clip.right),
      top: Math.max(r.top, clip.top) + 2.5,
      bottom: Math.min(r.bottom, clip.bottom) - 2.5,
      node,
    }))
    .filter((box) => box.right - box.left > 1 && box.bottom > box.top);
}

function touching(nodes) {
  const boxes = nodes.flatMap(boxesOf).sort((x, y) => x.top - y.top);
  const found = [];
  boxes.forEach((one, n) => {
    for (let m = n + 1; m < boxes.length && boxes[m].top < one.bottom; m += 1) {
      const other = boxes[m];
      const shared = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      if (one.node !== other.node && shared > 1) found.push(`${one.node.textContent} | ${other.node.textContent}`);
    }
  });
  return found;
}

// Texts that lie on each other, with the page at its top.
function overlaps() {
  return touching(textNodes(document.body, (x) => isSeen(x) && !x.closest(".skip, script, dialog, #tip, select")));
}

function luminanceOf([r, g, b]) {
  const linear = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function contrastOf(one, other) {
  const [low, high] = [luminanceOf(one), luminanceOf(other)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

const colorOf = (text) => text.match(/[\d.]+/g).map(Number);

function paperOf(element) {
  for (let at = element; at; at = at.parentElement) {
    const color = colorOf(getComputedStyle(at).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
  }
  return [255, 255, 255];
}

// WCAG 2.1: 4.5 between any text and what it stands on, 3 between lines and markers and the page.
function faint() {
  const found = [];
  for (const { parentElement: x } of textNodes(document.body, (y) => isSeen(y) && !y.closest("script, .anchor"))) {
    const style = getComputedStyle(x);
    const ratio = contrastOf(colorOf(x.closest("svg") ? style.fill : style.color), paperOf(x));
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${x.tagName}.${x.getAttribute("class")} ${x.textContent.slice(0, 20)}`);
  }
  for (const x of document.querySelectorAll("svg .mark .line, svg .mark .full, svg.swatch path, svg.whisk .mean")) {
    const { stroke } = getComputedStyle(x);
    const ratio = contrastOf(colorOf(stroke), paperOf(x));
    if (ratio < 3) found.push(`${ratio.toFixed(2)} ${x.parentNode.dataset.name} ${stroke}`);
  }
  return [...new Set(found)];
}

const paper = () => paperOf(document.body);
