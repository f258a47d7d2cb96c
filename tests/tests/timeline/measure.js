// Measures a page as it is laid out, and leaves what it found in the document, as JSON.
// Run by tests/tests/timeline.rs in a copy of the page: the page itself runs no script.
(() => {
  const trouble = [];
  const box = (element) => element.getBoundingClientRect();
  const rgb = (text) => {
    const parts = text.match(/[\d.]+/g).map(Number);
    return { r: parts[0], g: parts[1], b: parts[2], a: parts.length > 3 ? parts[3] : 1 };
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return { r: 255, g: 255, b: 255, a: 1 };
  };
  const luminance = (colour) => {
    const channel = (value) => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * channel(colour.r) + 0.7152 * channel(colour.g) + 0.0722 * channel(colour.b);
  };
  const contrast = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };

  // Letters stand out from what is behind them.
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.tagName === "SCRIPT") continue;
    const ratio = contrast(rgb(getComputedStyle(element).color), ground(element));
    if (ratio < 4.5) {
      trouble.push(`contrast ${ratio.toFixed(2)} of "${element.textContent.trim().slice(0, 40)}"`);
    }
  }
  // So do the bars that say when.
  for (const kind of ["start", "away"]) {
    for (const bar of document.querySelectorAll(`tr .bar.${kind}`)) {
      const ratio = contrast(rgb(getComputedStyle(bar).backgroundColor), ground(document.body));
      if (ratio < 3) trouble.push(`contrast ${ratio.toFixed(2)} of a bar ${kind}`);
    }
  }
  const axis = box(document.querySelector("th.axis"));
  const inside = (inner, outer, slack) =>
    inner.left >= outer.left - slack && inner.right <= outer.right + slack;
  const rows = [...document.querySelectorAll("tr[data-node]")].map((row) => {
    const lane = row.querySelector(".lane");
    for (const element of lane.querySelectorAll(".bar, .window")) {
      const what = `${element.className} of ${row.dataset.node}`;
      if (!inside(box(element), axis, 0.5)) trouble.push(`${what} lies outside the axis`);
      if (!(box(element).width >= 1)) trouble.push(`${what} cannot be seen`);
      if (box(element).bottom > box(lane).bottom + 0.5) trouble.push(`${what} is cut off`);
    }
    for (const cell of row.querySelectorAll("th, td.note")) {
      if (cell.scrollWidth > cell.clientWidth + 1) {
        trouble.push(`words of ${row.dataset.node} are cut off`);
      }
    }
    const start = row.querySelector(".bar.start");
    return {
      node: row.dataset.node,
      bars: [...lane.querySelectorAll(".bar")].map((bar) => bar.className),
      windows: lane.querySelectorAll(".window").length,
      left: start ? box(start).left - axis.left : null,
      note: row.querySelector("td.note").innerText,
      group: row.parentElement.querySelector("th.domain")?.innerText ?? null,
    };
  });
  const marks = [...document.querySelectorAll("th.axis .mark")].map(box);
  marks.forEach((mark, index) => {
    if (!inside(mark, axis, 1)) trouble.push("a mark lies outside the axis");
    if (index > 0 && marks[index - 1].right > mark.left) trouble.push("marks overlap");
  });
  if (document.documentElement.scrollWidth > window.innerWidth) {
    trouble.push(`the page is ${document.documentElement.scrollWidth} pixels wide`);
  }
  const found = {
    trouble,
    rows,
    marks: marks.length,
    resources: performance.getEntriesByType("resource").map((entry) => entry.name),
    legend: [...document.querySelectorAll(".legend li")].map((item) => item.innerText),
    blocked: document.querySelector("#blocked")?.innerText ?? "",
    difference: document.querySelector("#difference")?.innerText ?? "",
    heading: document.querySelector("h1").innerText,
    ground: getComputedStyle(document.body).backgroundColor,
  };
  const result = document.createElement("script");
  result.type = "application/json";
  result.id = "found";
  result.textContent = JSON.stringify(found).replaceAll("<", "\\u003c");
  document.body.append(result);
})();
