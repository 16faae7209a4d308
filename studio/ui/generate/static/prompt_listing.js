/* The names that prompts may say, shared by all prompt fields and drawers of the page. */

const ADDRESS = "/ask/prompt-names";
const FRESH_FOR = 30000; // ms for which the names are not asked for again

let listing = { loras: [], embeddings: [], wildcards: [], isComplete: false };
let askedAt = Number.NEGATIVE_INFINITY;
let asking = null;

/** The names as they were last answered: rows of loras, embeddings and wildcards (studio/web/prompt_names.py). */
export const names = () => listing;

/** Asks for the names again when they may have changed; those of before stay where the studio does not answer. Tells
    whether they came anew. */
export async function freshNames() {
  if (performance.now() - askedAt < FRESH_FOR) return asking;
  askedAt = performance.now();
  asking = ask();
  const isNew = await asking;
  asking = false;
  return isNew;
}

async function ask() {
  const answer = await fetch(ADDRESS).catch(() => null);
  if (answer?.ok) listing = await answer.json();
  return Boolean(answer?.ok);
}
