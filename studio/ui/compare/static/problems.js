/* What is wrong with the fields of a comparison, said at each of them; what has no field of its own is said elsewhere. */

import { h } from "../../static/elements.js";

/** root() is the element that holds the tab's fields; elsewhere() the one that says what has no field there. */
export function comparisonProblems({ tab, root, elsewhere }) {
  function clearProblems() {
    for (const old of root().querySelectorAll(".ls-problem")) old.remove();
    for (const block of root().querySelectorAll(".ls-has-problem")) block.classList.remove("ls-has-problem");
  }
  function markProblems(problems, folded = true) {
    clearProblems();
    const blockOf = (problem) => document.getElementById(`${tab}-${problem.field}`);
    const folds = [...root().querySelectorAll(".ls-fold > button.label-wrap:not(.open)")];
    if (folded && folds.length && !problems.every(blockOf)) {
      folds.forEach((fold) => fold.click()); // Gradio draws a fold's fields when it is opened
      setTimeout(() => markProblems(problems, false), 200);
      return;
    }
    const rest = [];
    for (const problem of problems) {
      const block = blockOf(problem);
      if (!block) rest.push(`${problem.field}: ${problem.message}`);
      else {
        block.classList.add("ls-has-problem");
        block.append(h("p", { class: "ls-problem", role: "alert" }, problem.message));
      }
    }
    if (rest.length) elsewhere().append(h("span", { class: "ls-also" }, ` ${rest.join(" ")}`));
  }

  return { markProblems, clearProblems };
}
