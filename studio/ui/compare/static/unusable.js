/* Axes that cannot be used as the form stands: grey in their lists, for screen readers too. Their labels say what they
   need (studio/ui/compare/axes.py); the server refuses one that is chosen by the keyboard. */

const NEEDS = " — "; // stands between an axis and what it needs

/** Marks such entries of the lists of the fields with these ids, whenever Gradio draws one. */
export function greyUnusable(ids) {
  for (const field of ids.map((id) => document.getElementById(id)).filter(Boolean)) {
    const mark = () => {
      for (const entry of field.querySelectorAll("li[role=option]")) {
        const needs = (entry.getAttribute("aria-label") || "").includes(NEEDS);
        if (needs) entry.setAttribute("aria-disabled", "true");
        else entry.removeAttribute("aria-disabled");
      }
    };
    new MutationObserver(mark).observe(field, {
      subtree: true,
      childList: true,
      attributes: true,
      attributeFilter: ["aria-label"],
    });
    mark();
  }
}
