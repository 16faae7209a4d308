/* The deeper panels of expert mode: one tab and one room each, of which one shows. */

import { h } from "../../static/elements.js";

/** `deeper`: the panels, which get `tab` and `room`. front() is the one that shows, usable(panel) says whether one has
    anything to show, open(name) chooses one. */
export function panelTabs({ deeper, say, front, usable, open }) {
  const tabs = h("div", { class: "ls-tabs", role: "tablist", "aria-label": say("deeper") });
  const rooms = h("div", { class: "ls-rooms" });
  for (const panel of deeper) {
    panel.tab = h(
      "button",
      {
        type: "button",
        role: "tab",
        id: `ls-tab-${panel.name}`,
        "aria-controls": `ls-room-${panel.name}`,
        onclick: () => open(panel.name),
      },
      say(`tab.${panel.name}`),
    );
    panel.room = h(
      "div",
      { class: "ls-room", role: "tabpanel", id: `ls-room-${panel.name}`, "aria-labelledby": `ls-tab-${panel.name}` },
      panel.element,
    );
    tabs.append(panel.tab);
    rooms.append(panel.room);
  }
  tabs.addEventListener("keydown", (event) => {
    const there = deeper.filter((panel) => !panel.tab.hidden);
    const now = there.indexOf(front());
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1 }[event.key];
    if (to === undefined || !there[to]) return;
    event.preventDefault();
    event.stopPropagation();
    open(there[to].name);
    there[to].tab.focus();
  });

  function drawTabs() {
    const inFront = front();
    for (const panel of deeper) {
      const isInFront = panel === inFront;
      panel.tab.hidden = !usable(panel);
      panel.tab.setAttribute("aria-selected", String(isInFront));
      panel.tab.tabIndex = isInFront ? 0 : -1;
      panel.room.hidden = !isInFront;
    }
  }

  return { tabs, rooms, drawTabs };
}
