/* The deeper panels of expert mode, a tab for each; one of them shows. */

import { h } from "../../static/elements.js";

/** `deeper`: the panels; each gets `tab` and `tabPanel`. front() is the panel in front, usable(panel) says whether
    it has anything to show, open(name) chooses one. */
export function panelTabs({ deeper, say, front, usable, open }) {
  const tabs = h("div", { class: "ls-tabs", role: "tablist", "aria-label": say("deeper") });
  const tabPanels = h("div", { class: "ls-tab-panels" });
  for (const panel of deeper) {
    panel.tab = h(
      "button",
      {
        type: "button",
        role: "tab",
        id: `ls-tab-${panel.name}`,
        "aria-controls": `ls-tab-panel-${panel.name}`,
        onclick: () => open(panel.name),
      },
      say(`tab.${panel.name}`),
    );
    panel.tabPanel = h(
      "div",
      {
        class: "ls-tab-panel",
        role: "tabpanel",
        id: `ls-tab-panel-${panel.name}`,
        "aria-labelledby": `ls-tab-${panel.name}`,
      },
      panel.element,
    );
    tabs.append(panel.tab);
    tabPanels.append(panel.tabPanel);
  }
  tabs.addEventListener("keydown", (event) => {
    const usablePanels = deeper.filter((panel) => !panel.tab.hidden);
    const now = usablePanels.indexOf(front());
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1 }[event.key];
    if (to === undefined || !usablePanels[to]) return;
    event.preventDefault();
    event.stopPropagation();
    open(usablePanels[to].name);
    usablePanels[to].tab.focus();
  });

  function drawTabs() {
    const inFront = front();
    for (const panel of deeper) {
      const isInFront = panel === inFront;
      panel.tab.hidden = !usable(panel);
      panel.tab.setAttribute("aria-selected", String(isInFront));
      panel.tab.tabIndex = isInFront ? 0 : -1;
      panel.tabPanel.hidden = !isInFront;
    }
  }

  return { tabs, tabPanels, drawTabs };
}
