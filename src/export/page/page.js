// The page: what /api/v1 and its stream say, drawn. It only reads. Whatever comes from the network is put in as text, never as markup.
"use strict";

const KEPT = 300; // samples of the charts: five minutes
const LEAST = 60; // a chart is this wide at first
const SERIES = 8; // colours; the last is for all other classes
const DENIALS = 50;
const SVG = "http://www.w3.org/2000/svg";
const SLOW_EVERY_MS = 5000; // peers and ports change seldom
const byId = (id) => document.getElementById(id);

let before = null; // the tick before this one
let ports = [];
let rates = new Map();
const history = { passed: [], dropped: [] };
const colours = { passed: new Map(), dropped: new Map() };
const denials = new Map(); // a row of the table for each cell that moved

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (className) made.className = className;
  return made;
}

function fill(id, rows, columns, empty) {
  const body = byId(id).querySelector("tbody");
  const made = rows.map((cells) => {
    const row = element("tr", null, cells.className);
    for (const cell of cells) row.append(element("td", cell.text, cell.className));
    return row;
  });
  if (made.length === 0) {
    const row = element("tr", null, "off");
    const cell = element("td", empty);
    cell.colSpan = columns;
    row.append(cell);
    made.push(row);
  }
  body.replaceChildren(...made);
}

const plain = (text) => ({ text });
const number = (text, className) => ({ text, className: "number" + (className ? " " + className : "") });

function short(value) {
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

function long(nanoseconds) {
  let seconds = Math.max(0, Math.floor(nanoseconds / 1e9));
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const shown = [];
  for (const [size, name] of parts) {
    const whole = Math.floor(seconds / size);
    seconds -= whole * size;
    if (whole > 0 && shown.length < 2) shown.push(whole + name);
  }
  return shown.join(" ") || "0s";
}

const time = (milliseconds) => new Date(milliseconds).toISOString().slice(11, 19);
const portOf = (row) => (row.port !== null ? String(row.port) : row.ports || (row.protocol ? "other" : "–"));
const keyOf = (row) => [row.class, portOf(row), row.protocol].join("|");
const cellOf = (row) => [keyOf(row), row.direction, row.outcome, row.reason].join("|");

function showStatus(status) {
  const state = byId("state");
  const names = { enforce: "enforcing", audit: "audit: nothing is dropped" };
  state.textContent = status.mode === null ? "nothing in force" : names[status.mode] + (status.healthy ? "" : ", not healthy");
  state.className = "pill " + (status.mode === "enforce" && status.healthy ? "good" : status.mode === "audit" && status.healthy ? "" : "bad");
  byId("dropped-title").textContent = status.mode === "audit" ? "Would be dropped" : "Dropped";
  const facts = [
    ["generation", status.generation],
    ["peers", status.peers],
    ["interfaces", status.interfaces.map((one) => one.name + " " + one.attach_mode).join(", ") || "none"],
    ["agent", status.agent ? "pid " + status.agent.pid : "not running"],
    ["policy", status.policy_sha256 ? status.policy_sha256.slice(0, 12) : null],
  ];
  byId("facts").replaceChildren(...facts.filter((fact) => fact[1] !== null).map(([name, value]) => {
    const made = element("div");
    made.append(element("dt", name), element("dd", value));
    return made;
  }));
  byId("problems").hidden = status.problems.length === 0;
  byId("problem-list").replaceChildren(...status.problems.map((problem) => element("li", problem)));
}

// Rates since the tick before; a counter that went back was made anew, and has none.
function measure(tick) {
  const now = new Map();
  for (const row of tick.counters ? tick.counters.rows : []) now.set(cellOf(row), row);
  const passed = new Map(), dropped = new Map();
  rates = new Map();
  const seconds = before ? (tick.unix_ms - before.unix_ms) / 1000 : 0;
  for (const [cell, row] of now) {
    if (seconds <= 0) break;
    const then = before.rows.get(cell);
    const packets = Math.max(0, row.packets - (then ? then.packets : 0));
    const rate = packets / seconds;
    const line = rates.get(keyOf(row)) || { passed: 0, dropped: 0, sent: 0 };
    rates.set(keyOf(row), line);
    const name = row.class || (row.protocol ? "other " + row.protocol : "without a port");
    if (row.direction === "out") {
      line.sent += rate;
    } else if (row.outcome === "pass") {
      line.passed += rate;
      passed.set(name, (passed.get(name) || 0) + rate);
    } else {
      line.dropped += rate;
      dropped.set(name, (dropped.get(name) || 0) + rate);
      if (packets > 0) {
        const known = denials.get(cell);
        denials.delete(cell); // the newest stands last
        denials.set(cell, { at: tick.unix_ms, row, packets: packets + (known ? known.packets : 0) });
      }
    }
  }
  before = { unix_ms: tick.unix_ms, rows: now };
  if (seconds > 0) {
    for (const [which, sample] of [["passed", passed], ["dropped", dropped]]) {
      history[which].push(sample);
      if (history[which].length > KEPT) history[which].shift();
    }
  }
}

// Stacked areas: the busiest classes each in a colour of its own, kept for as long as the page is open.
function drawChart(which) {
  const samples = history[which], colour = colours[which];
  const sums = new Map();
  for (const sample of samples) for (const [name, rate] of sample) sums.set(name, (sums.get(name) || 0) + rate);
  const names = [...sums.keys()].filter((name) => sums.get(name) > 0).sort((a, b) => sums.get(b) - sums.get(a));
  for (const name of names) if (!colour.has(name) && colour.size < SERIES - 1) colour.set(name, colour.size);
  const series = [...colour.keys()].filter((name) => sums.get(name) > 0);
  const others = names.filter((name) => !colour.has(name));
  const stack = series.map((name) => ({ name, colour: colour.get(name), of: (sample) => sample.get(name) || 0 }));
  if (others.length > 0) {
    stack.push({ name: "others", colour: SERIES - 1, of: (sample) => others.reduce((sum, name) => sum + (sample.get(name) || 0), 0) });
  }
  const most = Math.max(1, ...samples.map((sample) => stack.reduce((sum, one) => sum + one.of(sample), 0)));
  const svg = byId(which);
  const width = Math.max(LEAST, samples.length) - 1;
  svg.setAttribute("viewBox", "0 0 " + width + " 100");
  const parts = [25, 50, 75].map((y) => {
    const line = document.createElementNS(SVG, "line");
    for (const [key, value] of [["x1", 0], ["x2", width], ["y1", y], ["y2", y], ["class", "grid"]]) line.setAttribute(key, value);
    return line;
  });
  const left = width + 1 - samples.length;
  let floor = samples.map(() => 0);
  for (const one of stack) {
    const top = samples.map((sample, at) => floor[at] + one.of(sample));
    const point = (value, at) => (left + at) + "," + (100 - (value / most) * 96).toFixed(2);
    const path = document.createElementNS(SVG, "polygon");
    path.setAttribute("points", [...top.map(point), ...floor.map(point).reverse()].join(" "));
    path.setAttribute("class", "c" + one.colour);
    parts.push(path);
    floor = top;
  }
  svg.replaceChildren(...parts);
  const last = samples[samples.length - 1] || new Map();
  const total = [...last.values()].reduce((sum, rate) => sum + rate, 0);
  byId(which + "-now").textContent = short(total) + " packets/s, most " + short(samples.length ? most : 0);
  svg.setAttribute("aria-label", byId(which + "-now").textContent);
  byId(which + "-legend").replaceChildren(...stack.map((one) => {
    const item = element("li");
    item.append(element("i", null, "c" + one.colour), one.name + " " + short(one.of(last)) + "/s");
    return item;
  }));
}

function isIdle(port) {
  return port.passed_packets + port.sent_packets + port.dropped_packets + port.would_drop_packets === 0;
}

function showPorts() {
  const idle = ports.filter(isIdle).length;
  const all = byId("idle").checked;
  byId("idle-label").textContent = idle + (idle === 1 ? " port" : " ports") + " without any traffic, too";
  fill("ports", ports.filter((port) => all || !isIdle(port)).map((port) => {
    const rate = rates.get(keyOf(port)) || { passed: 0, sent: 0, dropped: 0 };
    const denied = port.dropped_packets + port.would_drop_packets;
    const access = (port.access || "not named any more") + (port.also_allow ? " + also_allow" : "");
    const row = [
      plain(portOf(port) + "/" + port.protocol), plain(port.class), { text: access, className: "access" },
      number(short(rate.passed)), number(short(rate.sent)), number(short(rate.dropped), rate.dropped > 0 ? "bad-text" : ""),
      number(port.passed_packets.toLocaleString("en")), number(port.sent_packets.toLocaleString("en")),
      number(denied.toLocaleString("en")),
    ];
    row.className = port.access === null || isIdle(port) ? "off" : "";
    return row;
  }), 9, ports.length > 0 ? "No named port had any traffic yet." : "No port is named by a policy in force.");
}

// The counters of a tick are newer than the ports that were asked for last.
function countPorts(counters) {
  const sums = new Map();
  for (const row of counters.rows) {
    const sum = sums.get(keyOf(row)) || { passed_packets: 0, sent_packets: 0, dropped_packets: 0, would_drop_packets: 0 };
    sums.set(keyOf(row), sum);
    const field = row.direction === "out" ? "sent_packets" : { pass: "passed_packets", drop: "dropped_packets" }[row.outcome] || "would_drop_packets";
    sum[field] += row.packets;
  }
  for (const port of ports) Object.assign(port, sums.get(keyOf(port)));
}

function showDenials() {
  fill("denials", [...denials.values()].reverse().slice(0, DENIALS).map((one) => [
    plain(time(one.at)), plain(portOf(one.row) + (one.row.protocol ? "/" + one.row.protocol : "")), plain(one.row.class || "–"),
    plain(one.row.reason.replaceAll("_", " ")),
    { text: one.row.outcome === "drop" ? "dropped" : "would be dropped", className: one.row.outcome === "drop" ? "bad-text" : "warn-text" },
    number(one.packets.toLocaleString("en")),
  ]), 6, "Nothing was denied.");
}

function showPeers(known) {
  const now = Date.now() * 1e6;
  fill("peers", known.peers.map((peer) => [
    plain(peer.address),
    { text: peer.state + (peer.why ? ": " + peer.why : ""), className: peer.state === "active" ? "good-text" : "warn-text" },
    plain(long(now - peer.since_unix_ns)),
    { text: peer.sources.join(", ") || "–", className: "text" },
  ]), 4, "No peer is known.");
  fill("sources", known.sources.map((source) => [
    { text: source.name, className: "text" }, number(source.peers),
    plain(source.age_seconds === null ? "never" : long(source.age_seconds * 1e9) + " ago"),
    { text: source.error || "fine", className: "text " + (source.error ? "bad-text" : "good-text") },
  ]), 4, "No source is known.");
}

async function ask(what) {
  const answer = await fetch("api/v1/" + what, { cache: "no-store" });
  if (!answer.ok) throw new Error(what + ": " + answer.status);
  return answer.json();
}

async function lookAtSlowThings() {
  try {
    const [known, named] = await Promise.all([ask("peers"), ask("ports")]);
    showPeers(known);
    ports = named.ports;
    showPorts();
  } catch (error) {
    // The stream's own end says so on the page.
  }
  setTimeout(lookAtSlowThings, SLOW_EVERY_MS);
}

function listen() {
  const stream = new EventSource("api/v1/stream");
  stream.addEventListener("tick", (event) => {
    const tick = JSON.parse(event.data);
    showStatus(tick.status);
    measure(tick);
    if (tick.counters) countPorts(tick.counters);
    byId("clock").textContent = time(tick.unix_ms) + " UTC";
    drawChart("passed");
    drawChart("dropped");
    showPorts();
    showDenials();
    document.documentElement.dataset.ticks = Number(document.documentElement.dataset.ticks || 0) + 1;
  });
  stream.addEventListener("error", () => {
    const state = byId("state");
    state.textContent = "no connection to the node; trying again";
    state.className = "pill bad";
  });
}

byId("idle").addEventListener("change", showPorts);
lookAtSlowThings();
listen();
