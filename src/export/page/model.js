// What two ticks of the stream come to: rates, their history, denials. It must not touch the document, the network or the clock.

export const KEPT = 300; // samples of the history: five minutes
const DENIALS = 50;
const GAP_MS = 3000; // ticks further apart than this leave a gap in the history

export const portOf = (row) => (row.port !== null ? String(row.port) : row.ports || (row.protocol ? "other" : "–"));
export const keyOf = (row) => [row.class, portOf(row), row.protocol].join("|");
const cellOf = (row) => [keyOf(row), row.direction, row.outcome, row.reason].join("|");
const nameOf = (row) => row.class || (row.protocol ? "other " + row.protocol : "without a port");
const COUNTED = { pass: "passed_packets", drop: "dropped_packets", would_drop: "would_drop_packets" };
const none = () => ({ passed_packets: 0, sent_packets: 0, dropped_packets: 0, would_drop_packets: 0 });
const add = (sums, name, rate) => sums.set(name, (sums.get(name) || 0) + rate);

export class Model {
  before = null; // the tick before this one
  rates = new Map(); // by keyOf: packets a second, of the last tick
  totals = new Map(); // by keyOf: packets
  history = { passed: [], dropped: [] }; // by class; null: nothing is known of that second
  denied = new Map(); // each cell that moved, the latest last

  // Rates are the difference to the tick before. A counter that is less than before was made anew, and has none.
  take(tick) {
    this.rates = new Map();
    this.totals = new Map();
    if (!tick.counters) {
      // What is counted when a policy is in force again did not happen in one second.
      this.before = null;
      this.note(null, null);
      return;
    }
    const now = new Map();
    for (const row of tick.counters.rows) {
      now.set(cellOf(row), row.packets);
      const sums = this.totals.get(keyOf(row)) || none();
      this.totals.set(keyOf(row), sums);
      sums[row.direction === "out" ? "sent_packets" : COUNTED[row.outcome]] += row.packets;
    }
    const then = this.before;
    this.before = { unix_ms: tick.unix_ms, cells: now };
    const passedMs = then ? tick.unix_ms - then.unix_ms : 0;
    if (passedMs <= 0) return; // the first tick, or the node's clock was set back
    const sums = { passed: new Map(), dropped: new Map() };
    for (const row of tick.counters.rows) {
      const packets = Math.max(0, row.packets - (then.cells.get(cellOf(row)) || 0));
      if (packets > 0) this.move(tick.unix_ms, row, packets, (packets * 1000) / passedMs, sums);
    }
    if (passedMs > GAP_MS) for (let ms = 1500; ms < Math.min(passedMs, KEPT * 1000); ms += 1000) this.note(null, null);
    this.note(sums.passed, sums.dropped);
  }

  move(unix_ms, row, packets, rate, sums) {
    const line = this.rates.get(keyOf(row)) || { passed: 0, dropped: 0, sent: 0 };
    this.rates.set(keyOf(row), line);
    if (row.direction === "out") {
      line.sent += rate;
    } else if (row.outcome === "pass") {
      line.passed += rate;
      add(sums.passed, nameOf(row), rate);
    } else {
      line.dropped += rate;
      add(sums.dropped, nameOf(row), rate);
      const cell = cellOf(row);
      const known = this.denied.get(cell);
      this.denied.delete(cell);
      this.denied.set(cell, { at: unix_ms, row, packets: packets + (known ? known.packets : 0) });
    }
  }

  note(passed, dropped) {
    for (const [samples, sample] of [[this.history.passed, passed], [this.history.dropped, dropped]]) {
      samples.push(sample);
      if (samples.length > KEPT) samples.shift();
    }
  }

  denials() {
    return [...this.denied.values()].reverse().slice(0, DENIALS);
  }
}
