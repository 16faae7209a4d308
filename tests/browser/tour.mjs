/* A walk through the whole page that any browser can take: run in the page, by tests/browser/test_engines.py.

   Each call of `next()` takes the tour further. It returns {drag: [x, y, x', y']} (pixels of the window) where the tour
   needs a real pointer, and {problems, facts} at the end: what went wrong, in words, and what the tour has counted. */

const PATIENCE = 60000; // ms
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const find = (selector) => document.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/** The first truthy result of `look`. Throws an error that names `what` after PATIENCE. */
async function until(what, look) {
  const end = performance.now() + PATIENCE;
  while (performance.now() < end) {
    const answer = look();
    if (answer) return answer;
    await wait(50);
  }
  const texts = all(".ls-message, .ls-problem, .ls-status").map((one) => one.textContent.trim());
  throw new Error(`${what}: not within ${PATIENCE / 1000} s; the page says ${texts.filter(Boolean).join(" | ")}`);
}

function type(field, text) {
  const prototype = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
  Object.getOwnPropertyDescriptor(prototype, "value").set.call(field, text);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

/** The number of colours in a drawing, at most 100. A drawing of one colour is empty. */
function colours(drawing) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
  const pen = canvas.getContext("2d");
  pen.drawImage(drawing, 0, 0, 32, 32);
  const { data } = pen.getImageData(0, 0, 32, 32);
  const values = new Set();
  for (let k = 0; k < data.length && values.size < 100; k += 4) values.add(`${data[k]} ${data[k + 1]} ${data[k + 2]}`);
  return values.size;
}

async function open(tab) {
  const button = () => all("#tabs [role=tab]").find((one) => one.textContent.trim() === tab);
  (await until(`the tab ${tab}`, button)).click();
}

async function firstPicture(facts) {
  type(find("#text_to_image-prompt textarea"), "a red apple in the snow");
  find("#text_to_image-generate").click();
  const stage = () => find("#text_to_image-stage .ls-stage");
  await until(
    "the first picture",
    () => stage().dataset.state === "finished" && find("#text_to_image-stage img.ls-picture").src.includes("/picture/"),
  );
  facts.picture = colours(find("#text_to_image-stage img.ls-picture"));
}

async function scrub(facts) {
  const film = find("#text_to_image-stage .ls-film");
  const picture = find("#text_to_image-stage img.ls-picture");
  const [last, words] = [picture.src, picture.alt];
  film.focus();
  for (let k = 0; k < 5; k++) film.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
  await until("an earlier step", () => picture.src !== last && picture.alt !== words);
  facts.frames = film.querySelector(".ls-cells").children.length;
  film.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
  await until("the finished picture again", () => picture.alt === words);
}

/** Makes a run on the viewer's own tab: it records the attention, so that every panel has content. */
async function viewerPanels(facts) {
  const record = () => find(".ls-viewer")?.record;
  await open("Noise viewer");
  await until("the newest run in the viewer", () => record()?.ended);
  type(await until("the viewer's prompt", () => find("#noise_viewer-prompt :is(input, textarea)")), "a blue boat");
  find("#noise_viewer-run").click();
  await until("a whole run in the viewer", () => record()?.ended && record().run.prompt === "a blue boat");
  all(".ls-viewer button[data-mode=expert]")[0].click();
  facts.evaluations = record().evaluations.length;
  facts.timeline = all(".ls-timeline canvas").length;
  facts.panes = all(".ls-pane canvas[data-quantity]").map(colours);
  facts.panels = {};
  for (const tab of all(".ls-viewer .ls-tabs [role=tab]")) {
    const name = tab.id.replace("ls-tab-", "");
    if (tab.hidden) continue;
    tab.click();
    const room = find(`#ls-tab-panel-${name}`);
    const content = () =>
      all("canvas, svg, .ls-box, .ls-token, .ls-pick, .ls-weight-line, a.ls-export", room).filter(
        (one) => one.getClientRects().length,
      );
    await until(
      `the panel ${name}`,
      () => content().length > 0 && all("[role=status]", room).every((one) => !/…$/.test(one.textContent.trim())),
    );
    facts.panels[name] = content().length;
    if (/does not answer/.test(room.textContent))
      throw new Error(`the panel ${name}: ${room.textContent.slice(0, 200)}`);
  }
}

async function comparison(facts) {
  await open("Compare");
  const field = (name) => find(`#compare-${name} :is(input, textarea)`);
  await until("the form of a comparison", () => field("x_values"));
  const form = { prompt: "a green tree", x_values: "4, 6", y_values: "1, 4" };
  for (const [name, text] of Object.entries(form)) type(field(name), text);
  await until("the cost of four pictures", () => find(".cmp-cost")?.textContent.startsWith("4 pictures"));
  find("#compare-generate").click();
  await until(
    "a comparison of four",
    () => find(".cmp")?.dataset.state === "finished" && all(".cmp-cell[data-state=finished]").length === 4,
  );
  await until("its picture", () => colours(find(".cmp-pane[data-pane=b] canvas")) > 20);
  facts.cells = all(".cmp-cell").length;
}

async function* mask(facts) {
  await open("Inpaint");
  const input = await until("the field of the picture", () => find("#inpaint-image input[type=file]"));
  const canvas = Object.assign(document.createElement("canvas"), { width: 96, height: 64 });
  canvas.getContext("2d").fillRect(0, 0, 40, 40);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const transfer = new DataTransfer();
  transfer.items.add(new File([blob], "start.png", { type: "image/png" }));
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  const sheet = await until("the mask's sheet", () => {
    const sheetCanvas = find(".ls-mask-canvas");
    return sheetCanvas?.width === 96 && sheetCanvas.getClientRects().length ? sheetCanvas : null;
  });
  sheet.scrollIntoView({ block: "center" });
  await wait(300);
  const { left, top, width, height } = sheet.getBoundingClientRect();
  const at = (x, y) => [Math.round(left + x * width), Math.round(top + y * height)];
  yield { drag: [...at(0.2, 0.5), ...at(0.6, 0.5)] };
  await until("paint on the mask", () => find(".ls-mask").dataset.painted === "true");
  type(find("#inpaint-prompt textarea"), "a red apple");
  find("#inpaint-generate").click();
  await until("a picture made anew under a mask", () => find("#inpaint-stage .ls-stage").dataset.state === "finished");
  facts.inpainted = colours(find("#inpaint-stage img.ls-picture"));
}

async function models(facts) {
  await open("Models");
  const rows = () => all(".ls-models-list .ls-model").filter((one) => one.getClientRects().length);
  await until("the list of models", () => rows().length > 0);
  facts.models = rows()[0].textContent.length;
}

/** Counts what no page lacks. Returns the parts that failed or were never drawn. */
function wholePage(facts) {
  facts.landmarks = all(".ls-landmarks button").length;
  facts.header = find(".ls-header h1").textContent;
  facts.examples = all(".ls-example").length;
  const failures = all(".ls-broken").map((one) => `${one.closest("[id]")?.id}: ${one.textContent}`);
  const gaps = all(".ls-mount").map((one) => `${one.closest("[id]")?.id} was never drawn`);
  return [...failures, ...gaps];
}

async function* walk() {
  const facts = {};
  const problems = [];
  await until("the page", () => find(".ls-dot")?.dataset.state === "ready");
  for (const part of [firstPicture, scrub, viewerPanels, comparison, mask, models]) {
    const start = performance.now();
    try {
      const steps = part(facts);
      if (steps[Symbol.asyncIterator]) yield* steps;
      else await steps;
    } catch (error) {
      problems.push(`${part.name}: ${error.message}`);
    }
    facts[`${part.name}Seconds`] = Math.round((performance.now() - start) / 100) / 10;
  }
  problems.push(...wholePage(facts), ...window.tourErrors);
  yield { problems, facts };
}

let steps = null;

/** Goes on to the next drag or to the end, and returns it. */
export async function next() {
  steps ??= walk();
  return (await steps.next()).value;
}
