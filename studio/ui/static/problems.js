/* Shows what is wrong with a tab's fields, beside each field. What has no field is shown elsewhere. */

import { h } from "./elements.js";
import { prepareFolds } from "./opening.js";

/** workspace() is the element that holds the tab's fields; otherPlace() shows what has no field there. A field that
    changes loses its mark. */
export function fieldProblems({ tab, workspace, otherPlace }) {
  let newest = 0; // so that problems that are out of date are not shown
  const blockOf = (problem) => document.getElementById(`${tab}-${problem.field}`);

  async function markProblems(problems) {
    clearProblems();
    const folds = [...workspace().querySelectorAll(".ls-fold > button.label-wrap:not(.open)")];
    if (folds.length && !problems.every(blockOf)) {
      const round = ++newest;
      await prepareFolds(tab);
      if (round !== newest) return;
      folds.forEach((fold) => fold.click());
    }
    for (const problem of problems) {
      const block = blockOf(problem);
      if (!block) {
        otherPlace().append(h("span", { class: "ls-also" }, ` ${problem.field}: ${problem.message}`));
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
    workspace().querySelector(".ls-has-problem input, .ls-has-problem textarea")?.focus();
  }

  function clearProblems(within = workspace()) {
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
    if (block && workspace().contains(block)) clearProblems(block);
  });

  return { markProblems, clearProblems };
}
