/* Greys the axes that cannot be used with the present form, for screen readers too. Their labels say what they need
   (studio/ui/compare/axes.py). The server refuses one that is chosen by the keyboard. */

const SEPARATOR = " — "; // stands between the name of an axis and what it needs

/** Marks these entries in the lists of the fields with these ids, whenever Gradio draws one. */
export function greyUnusable(ids) {
  for (const field of ids.map((id) => document.getElementById(id)).filter(Boolean)) {
    const mark = () => {
      for (const entry of field.querySelectorAll("li[role=option]")) {
        const isUnusable = (entry.getAttribute("aria-label") || "").includes(SEPARATOR);
        if (isUnusable) entry.setAttribute("aria-disabled", "true");
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
