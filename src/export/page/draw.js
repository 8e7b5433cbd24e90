// Values into the document. Whatever comes from the network is put in as text, never as markup. What did not change is left alone: a screen reader
// does not say it again, and a selection stays. It must not ask for anything.

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 60; // a chart is this many seconds wide at first
const SERIES = 8; // colours; the last is for all other classes
const colours = new Map(); // by class, for as long as the page is open, alike in all charts
const drawn = new Map(); // what was put into each element last

export const byId = (id) => document.getElementById(id);
export const text = (value) => ({ text: value });
export const number = (value, className) => ({ text: value, className: "number" + (className ? " " + className : "") });
export const whole = (value) => value.toLocaleString("en");
export const time = (unix_ms) => new Date(unix_ms).toISOString().slice(11, 19);

export function short(value) {
  if (value > 0 && value < 9.95) return value.toFixed(1);
  if (value < 99999.5) return value.toFixed(0);
  let unit = "";
  for (const next of ["k", "M", "G", "T"]) {
    if (value < 999.5) break;
    value /= 1000;
    unit = next;
  }
  return value.toFixed(value < 99.95 ? 1 : 0) + unit;
}

export function duration(seconds) {
  seconds = Math.max(0, Math.floor(seconds));
  const shown = [];
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]]) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count > 0 && shown.length < 2) shown.push(count + name);
  }
  return shown.join(" ") || "0s";
}

export function element(name, value, className) {
  const made = document.createElement(name);
  if (value !== undefined && value !== null) made.textContent = String(value);
  if (className) made.className = className;
  return made;
}

export function say(id, value, className) {
  const node = byId(id);
  if (node.textContent !== String(value)) node.textContent = value;
  if (className !== undefined && node.className !== className) node.className = className;
}

// Children anew, if what they show is something else than last time.
export function list(id, values, make) {
  const key = JSON.stringify(values);
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  byId(id).replaceChildren(...values.map(make));
}

// The table's body: a row for each of `rows`, whose first cell is its heading, or what there is to say if there is none.
export function table(id, rows, empty) {
  const body = byId(id).tBodies[0];
  if (rows.length === 0) {
    const row = element("tr", null, "none off");
    const cell = element("td", empty);
    cell.colSpan = byId(id).tHead.rows[0].cells.length;
    row.append(cell);
    if (body.rows.length !== 1 || body.textContent !== empty) body.replaceChildren(row);
    return;
  }
  if (body.querySelector(".none")) body.replaceChildren();
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, at) => {
    const row = body.rows[at] || body.insertRow();
    if (row.className !== (cells.className || "")) row.className = cells.className || "";
    cells.forEach((cell, column) => {
      const node = row.cells[column] || row.appendChild(element(column === 0 ? "th" : "td"));
      if (column === 0) node.scope = "row";
      if (node.textContent !== String(cell.text)) node.textContent = cell.text;
      if (node.className !== (cell.className || "")) node.className = cell.className || "";
      // On a narrow screen, in place of a column.
      if ((node.dataset.also || "") !== (cell.also || "")) node.dataset.also = cell.also || "";
    });
  });
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The next round number: what the top of a scale can be called.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 4, 6, 8, 10].find((step) => step * power >= value * 0.9999);
}

// Stacked areas: the busiest classes, each in a colour of its own.
export function chart(id, samples) {
  const sums = new Map();
  for (const sample of samples) for (const [name, rate] of sample || []) sums.set(name, (sums.get(name) || 0) + rate);
  const names = [...sums.keys()].sort((a, b) => sums.get(b) - sums.get(a));
  for (const name of names) if (!colours.has(name) && colours.size < SERIES - 1) colours.set(name, colours.size);
  const stack = [...colours.keys()].filter((name) => sums.has(name));
  const series = stack.map((name) => ({ name, colour: colours.get(name), of: (sample) => sample?.get(name) || 0 }));
  const others = names.filter((name) => !colours.has(name));
  if (others.length > 0) {
    const of = (sample) => others.reduce((sum, name) => sum + (sample?.get(name) || 0), 0);
    series.push({ name: "others", colour: SERIES - 1, of });
  }
  const total = (sample) => series.reduce((sum, one) => sum + one.of(sample), 0);
  const most = Math.max(0, ...samples.map(total));
  const top = round(Math.max(1, most));
  const width = Math.max(LEAST, samples.length) - 1;
  const left = width + 1 - samples.length;
  const parts = [];
  samples.forEach((sample, at) => {
    if (sample === null) parts.push(shape("rect", { x: left + at - 0.5, y: 0, width: 1, height: 100, class: "gap" }));
  });
  let floor = samples.map(() => 0);
  for (const one of series) {
    const ceiling = samples.map((sample, at) => floor[at] + one.of(sample));
    const point = (value, at) => left + at + "," + (100 - (value / top) * 100).toFixed(2);
    const points = [...ceiling.map(point), ...floor.map(point).reverse()].join(" ");
    parts.push(shape("polygon", { points, class: "c" + one.colour }));
    floor = ceiling;
  }
  for (const y of [0, 50]) parts.push(shape("line", { x1: 0, x2: width, y1: y, y2: y, class: "grid" }));
  const last = samples[samples.length - 1];
  const now = (one) => one.name + " " + short(one.of(last)) + "/s";
  const summary = short(total(last)) + " packets/s, most " + short(most);
  const svg = byId(id);
  svg.setAttribute("viewBox", "0 0 " + width + " 100");
  svg.setAttribute("aria-label", [summary, ...series.map(now)].join("; "));
  svg.replaceChildren(...parts);
  say(id + "-now", summary);
  for (const [place, rate] of [["-top", top], ["-middle", top / 2]]) say(id + place, rate < 10 ? rate : short(rate));
  say(id + "-from", duration(width + 1) + " ago");
  list(id + "-legend", series.map((one) => [one.colour, now(one)]), ([colour, label]) => {
    const item = element("li");
    item.append(element("i", null, "c" + colour), label);
    return item;
  });
}
