/* How full the memory is: what models take, what other programs take, and the limit. */

import { h } from "../../static/elements.js";

/** One bar for each memory that models take: the device's, if it has its own, and the machine's. */
export function memoryBars(m, tools) {
  const { say } = tools;
  const bars = [];
  if (m.device_models !== null && m.device_models !== undefined) {
    bars.push(bar(m.device_label, m.device_models, m.device_limit, m.device_free, m.device_total, tools));
  }
  bars.push(
    bar(
      say(bars.length ? "memory.ram" : "memory.only"),
      m.ram_models || 0,
      m.ram_limit,
      m.ram_free,
      m.ram_total,
      tools,
    ),
  );
  return bars;
}

function bar(label, used, limit, free, total, { say, bytes }) {
  const capacity = total || used + (free || 0) || 1;
  const others = free === null || free === undefined ? 0 : Math.max(0, capacity - used - free);
  const share = (n) => `${Math.min(100, (100 * n) / capacity).toFixed(2)}%`;
  const track = h("div", { class: "ls-memory-track", "aria-hidden": "true" });
  for (const [name, n] of [
    ["models", used],
    ["others", others],
  ]) {
    const piece = h("i", { class: `ls-memory-${name}` });
    piece.style.width = share(n);
    track.append(piece);
  }
  if (limit) {
    const mark = h("b", { class: "ls-memory-limit", title: say("memory.limit", { limit: bytes(limit) }) });
    mark.style.left = share(limit);
    track.append(mark);
  }
  const usedText = say("memory.used", { used: used ? bytes(used) : "0 MB", total: total ? bytes(total) : "?" });
  const freeText = free === null || free === undefined ? "" : say("memory.free", { free: bytes(free) });
  return h(
    "div",
    { class: "ls-memory-bar" },
    h("p", {}, h("strong", {}, label), h("span", {}, usedText), h("span", {}, freeText)),
    track,
  );
}
