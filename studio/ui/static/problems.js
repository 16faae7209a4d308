/* What is wrong with the fields of a tab, said at each of them; what has no field of its own is said elsewhere. */

import { h } from "./elements.js";
import { prepareFolds } from "./opening.js";

/** root() is the element that holds the tab's fields; elsewhere() the one that says what has no field there. A field
    that is changed is no longer called wrong. */
export function fieldProblems({ tab, root, elsewhere }) {
  let newest = 0; // so that problems which have been cleared meanwhile are not said
  const blockOf = (problem) => document.getElementById(`${tab}-${problem.field}`);

  async function markProblems(problems) {
    clearProblems();
    const folds = [...root().querySelectorAll(".ls-fold > button.label-wrap:not(.open)")];
    if (folds.length && !problems.every(blockOf)) {
      const mine = ++newest;
      await prepareFolds(tab);
      if (mine !== newest) return;
      folds.forEach((fold) => fold.click());
    }
    for (const problem of problems) {
      const block = blockOf(problem);
      if (!block) {
        elsewhere().append(h("span", { class: "ls-also" }, ` ${problem.field}: ${problem.message}`));
        continue;
      }
      const id = `${tab}-${problem.field}-problem`;
      block.classList.add("ls-has-problem");
      block.append(h("p", { class: "ls-problem", id, role: "alert" }, problem.message));
      for (const field of block.querySelectorAll("input, textarea")) {
        field.setAttribute("aria-invalid", "true");
        field.setAttribute("aria-describedby", id);
      }
      block.closest(".ls-fold")?.querySelector("button.label-wrap:not(.open)")?.click();
    }
    root().querySelector(".ls-has-problem input, .ls-has-problem textarea")?.focus();
  }

  function clearProblems(within = root()) {
    newest += 1;
    for (const note of within.querySelectorAll(".ls-problem")) note.remove();
    for (const block of [within, ...within.querySelectorAll(".ls-has-problem")])
      block.classList.remove("ls-has-problem");
    for (const field of within.querySelectorAll("[aria-invalid]")) {
      field.removeAttribute("aria-invalid");
      field.removeAttribute("aria-describedby");
    }
  }

  document.addEventListener("input", (event) => {
    const block = event.target.closest(".ls-has-problem");
    if (block && root().contains(block)) clearProblems(block);
  });

  return { markProblems, clearProblems };
}
