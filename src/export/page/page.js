// The page: what /api/v1 and its stream say, as long as they say it. It only reads.

import { byId, chart, duration, element, list, number, say, short, table, text, time, whole } from "./draw.js";
import { Model, keyOf, portOf } from "./model.js";

const RETRY_MS = 3000;
const SILENT_MS = 5000; // a tick comes every second: after this long nothing on the page is news
const SLOW_EVERY_MS = 5000; // peers and ports change seldom
const PEERS = 200; // shown at a time
const MODES = { enforce: "enforcing", audit: "audit: nothing is dropped" };

const model = new Model();
let stream = null;
let last = null; // the last tick
let heardAt = performance.now(); // anything of the stream
let known = { peers: [], sources: [] };
let ports = [];
let denied = { sources: [] };
let ticks = 0;

// A word on the whole, and whether what is below still holds.
function standing(words, kind, stale) {
  say("state", words, "pill " + kind);
  document.documentElement.classList.toggle("stale", stale);
  document.title = [words, last?.node, "nodewall"].filter(Boolean).join(" · ");
}

const ago = (unix_ns) => duration(last.unix_ms / 1000 - unix_ns / 1e9) + " ago"; // by the node's clock, as its times are

function standingOfPush(push) {
  if (!push) return [null];
  if (push.last_error) return ["failing: " + push.last_error, "warn-text"];
  return [push.last_success_unix_ns === null ? "nothing sent yet" : "fine, last " + ago(push.last_success_unix_ns)];
}

function standingOfMissionControl(reached) {
  if (!reached) return [null];
  return reached.ok ? ["reached " + ago(reached.unix_ns)] : ["not reached " + ago(reached.unix_ns) + ": " + reached.step, "warn-text"];
}

function showStatus(status) {
  const words = status.mode === null ? "nothing in force" : MODES[status.mode] + (status.healthy ? "" : ", not healthy");
  standing(words, !status.healthy || status.mode === null ? "bad" : status.mode === "enforce" ? "good" : "", false);
  say("dropped-title", status.mode === "audit" ? "Would be dropped" : "Dropped");
  const interfaces = status.interfaces.filter((one) => one.state === "covered")
    .map((one) => one.name + " (" + one.attach_mode + ", out: " + one.egress + ")");
  const facts = [
    ["node", last.node],
    ["audited", status.audited.join(", ") || null],
    ["generation", status.generation],
    ["peers", whole(status.peers)],
    ["interfaces", interfaces.join(", ") || "none"],
    ["agent", status.agent ? "pid " + status.agent.pid : "not running"],
    ["repairs", status.repairs || null],
    ["policy", status.policy_sha256 ? status.policy_sha256.slice(0, 12) : null],
    ["push", ...standingOfPush(status.push)],
    ["mission control", ...standingOfMissionControl(status.mission_control)],
  ];
  list("facts", facts.filter((fact) => fact[1] !== null && fact[1] !== undefined), ([name, value, className]) => {
    const made = element("div");
    made.append(element("dt", name), element("dd", value, className));
    return made;
  });
  showProblems(status.problems);
  const notices = [];
  const { trial, refused } = status;
  if (trial) {
    const left = duration(trial.seconds_left);
    notices.push("On trial (" + trial.kind.replaceAll("_", "-") + ", by " + trial.by + "): back to " + trial.back_to_mode + " in " + left + ".");
  }
  // A refusal that nobody was there to read is a problem, and stands there.
  if (refused && !refused.unattended) notices.push("Refused last (" + refused.attempt + "): " + refused.error);
  list("notice-list", notices, lines);
  byId("notices").hidden = notices.length === 0;
  byId("blocked").hidden = status.blocks.length === 0;
  table("blocks", status.blocks.map((block) => [
    { text: block.source, also: "by " + block.by },
    { text: block.seconds_left === null ? "until it is taken back" : duration(block.seconds_left) + " more", className: "text" },
    { text: block.reason || "–", className: "text" }, text(block.by),
  ]), "Nothing is blocked.");
}

const lines = (words) => element("li", words, words.includes("\n") ? "code" : "");

function showProblems(problems) {
  list("problem-list", problems, lines);
  byId("problems").hidden = problems.length === 0;
}

const isIdle = (port) => port.passed_packets + port.sent_packets + port.dropped_packets + port.would_drop_packets === 0;

function showPorts() {
  // The counters of a tick are newer than the ports that were asked for last.
  for (const port of ports) Object.assign(port, model.totals.get(keyOf(port)));
  const idle = ports.filter(isIdle).length;
  const all = byId("idle").checked;
  say("idle-label", "show " + idle + (idle === 1 ? " port" : " ports") + " without any traffic, too");
  table("ports", ports.filter((port) => all || !isIdle(port)).map((port) => {
    const rate = model.rates.get(keyOf(port)) || { passed: 0, sent: 0, dropped: 0 };
    const row = [
      { text: portOf(port) + "/" + port.protocol, also: port.class }, text(port.class || "–"),
      { text: (port.access || "not named any more") + (port.also_allow ? " + also_allow" : "") + (port.audited ? ", audited" : ""), className: "access" },
      number(short(rate.passed)), number(short(rate.sent)), number(short(rate.dropped), rate.dropped > 0 ? "bad-text" : ""),
      number(whole(port.passed_packets)), number(whole(port.sent_packets)),
      number(whole(port.dropped_packets + port.would_drop_packets)),
    ];
    row.className = port.access === null || isIdle(port) ? "off" : "";
    return row;
  }), ports.length > 0 ? "No named port had any traffic yet." : "No port is named by a policy in force.");
}

function showDenials() {
  table("denials", model.denials().map(({ at, row, packets }) => [
    text(time(at)), { text: portOf(row) + (row.protocol ? "/" + row.protocol : ""), also: row.class }, text(row.class || "–"),
    { text: row.reason.replaceAll("_", " "), className: "text" },
    row.outcome === "drop"
      ? { text: "dropped", also: row.reason.replaceAll("_", " "), className: "bad-text" }
      : { text: "would be dropped", also: row.reason.replaceAll("_", " "), className: "warn-text" },
    number(whole(packets)),
  ]), "Nothing unwanted came.");
}

// The address is what the frames said: nothing proves who sent them.
function showSenders() {
  table("senders", denied.sources.map((source) => [
    { text: source.source || "no address", also: source.interface }, { text: source.ports.join(", ") || "–", className: "text" },
    text(source.interface), text(time(source.last_unix_ns / 1e6)),
    number(whole(source.packets)),
  ]), "Nobody sent anything unwanted in the last hour.");
}

function showPeers() {
  const unix_s = last.unix_ms / 1000; // the node's clock, as the peers' times are
  const asked = byId("find").value.trim().toLowerCase();
  const found = known.peers.filter((peer) => [peer.address, peer.state, ...peer.sources].join(" ").toLowerCase().includes(asked));
  const shown = found.slice(0, PEERS);
  say("peers-shown", whole(shown.length) + (shown.length < known.peers.length ? " of " + whole(known.peers.length) : "") + " shown");
  table("peers", shown.map((peer) => {
    const left = peer.seconds_left === null ? "" : ", " + duration(peer.seconds_left) + " left";
    const from = [...peer.sources, ...(peer.by ? ["operator " + peer.by] : [])].join(", ") || "–";
    return [
      { text: peer.address, also: "known for " + duration(unix_s - peer.since_unix_ns / 1e9) },
      { text: peer.state + left + (peer.why ? ": " + peer.why : ""), className: "text " + (peer.state === "active" ? "good-text" : "warn-text") },
      text(duration(unix_s - peer.since_unix_ns / 1e9)), { text: from, className: "text" },
    ];
  }), known.peers.length > 0 ? "No peer is like that." : "No peer is known.");
  table("sources", known.sources.map((source) => {
    const failing = source.failing_since_unix_ns === null ? "" : "for " + duration(unix_s - source.failing_since_unix_ns / 1e9) + ": ";
    return [
      { text: source.name, className: "text" }, number(whole(source.peers)),
      text(source.age_seconds === null ? "never" : duration(source.age_seconds) + " ago"),
      { text: source.error ? "failing " + failing + source.error : "fine", className: "text " + (source.error ? "bad-text" : "good-text") },
    ];
  }), "No source is known.");
}

async function ask(what) {
  const answer = await fetch("api/v1/" + what, { cache: "no-store", signal: AbortSignal.timeout(SILENT_MS) });
  if (!answer.ok) throw Object.assign(new Error(what), { code: answer.status });
  return answer.json();
}

async function lookAtSlowThings() {
  const from = performance.now();
  let took = 0;
  try {
    if (!document.hidden) {
      // Without counters no policy is in force, and names no port.
      const [peers, named, sources] = await Promise.all([
        ask("peers"), last.counters ? ask("ports") : { ports: [] }, ask("denied-sources"),
      ]);
      took = performance.now() - from;
      known = peers;
      ports = named.ports;
      denied = sources;
      showSenders();
      showPeers();
      showPorts();
    }
  } catch {
    // What the stream says of it stands on the page.
  }
  // Where the answer is long, it is asked for less often; where none came, soon again.
  setTimeout(lookAtSlowThings, Math.max(SLOW_EVERY_MS, 20 * took));
}

function onTick(tick) {
  heardAt = performance.now();
  const first = last === null;
  last = tick;
  model.take(tick);
  showStatus(tick.status);
  say("clock", time(tick.unix_ms) + " UTC");
  chart("passed", model.history.passed);
  chart("dropped", model.history.dropped);
  showPorts();
  showDenials();
  document.documentElement.dataset.ticks = ++ticks;
  if (first) lookAtSlowThings();
}

function lost(words) {
  stream?.close();
  stream = null;
  standing(words, "bad", true);
  if (last) say("clock", "last heard " + time(last.unix_ms) + " UTC");
  setTimeout(listen, RETRY_MS);
}

// The browser tells no more of a stream than that it ended.
async function onEnd() {
  stream?.close();
  stream = null;
  standing("the stream ended; trying again", "bad", true);
  try {
    await ask("status");
    lost("too many pages are open, or the stream was cut; trying again");
  } catch (error) {
    if (error.code === 401) lost("this session is over: open the address that `nodewall page` prints");
    else if (error.code) lost("the node can not be read (" + error.code + "); trying again");
    else lost("no connection to the node; trying again");
  }
}

function listen() {
  heardAt = performance.now();
  stream = new EventSource("api/v1/stream");
  stream.addEventListener("tick", (event) => onTick(JSON.parse(event.data)));
  stream.addEventListener("problem", (event) => {
    heardAt = performance.now();
    standing("the node can not be read", "bad", true);
    showProblems([JSON.parse(event.data)]);
  });
  stream.addEventListener("error", onEnd);
}

byId("idle").addEventListener("change", showPorts);
byId("find").addEventListener("input", () => last && showPeers());
// A connection that leads nowhere any more has no end of its own.
setInterval(() => {
  if (stream && performance.now() - heardAt > SILENT_MS) lost("no news from the node; trying again");
}, 1000);
listen();
