/* Sends what waits to the studio, one run after the other. What has no picture of its own survives a reload, paused. */

const ROOT = "/api/v1";
const LOOK = 700; // ms between two looks at a run
const AGAIN = 5; // seconds after a refusal that names none

async function ask(path, options = {}) {
  const response = await fetch(ROOT + path, options);
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const error = answer.error || {};
  throw Object.assign(new Error(error.message || response.statusText), { type: error.type, after: error.retry_after });
}
const post = (path, value) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });
const rest = (ms) => new Promise((done) => setTimeout(done, ms));

/** `tab`: the kind of its runs. `storage`: where the browser's tab keeps what waits. `onChange()`: something is other
    than it was. An item is {id, fields, file, state: "waiting", "running" or "failed", progress, message}. */
export function runner({ tab, storage, onChange }) {
  let items = [];
  let number = 0;
  let isPaused = false;
  let isAtWork = false;
  const pictures = []; // {id, prompt} of those that are done

  const store = () => {
    const kept = items.filter((item) => !item.file).map(({ fields }) => ({ fields }));
    if (kept.length) sessionStorage.setItem(storage, JSON.stringify(kept));
    else sessionStorage.removeItem(storage);
  };
  function changed() {
    store();
    onChange();
  }
  const create = ({ fields, file }) => ({
    id: String(++number),
    fields,
    file,
    state: "waiting",
    progress: null,
    message: "",
  });
  try {
    items = JSON.parse(sessionStorage.getItem(storage) || "[]").map(create);
    isPaused = items.length > 0;
  } catch {
    items = [];
  }

  async function work() {
    if (isAtWork) return;
    isAtWork = true;
    let item = null;
    while (!isPaused && (item = items.find((one) => one.state === "waiting"))) await make(item);
    isAtWork = false;
  }
  async function make(item) {
    item.state = "running";
    items = [item, ...items.filter((one) => one !== item)];
    changed();
    try {
      const request = { ...item.fields };
      if (item.file) request.image = { upload: (await upload(item.file)).id };
      item.job = (await post(`/${tab}`, request)).job;
      if (!items.includes(item)) await post(`/jobs/${item.job}/cancel`); // removed meanwhile
      await follow(item);
    } catch (failure) {
      if (["limit", "full"].includes(failure.type)) {
        item.state = "waiting";
        onChange();
        return rest(1000 * (failure.after || AGAIN));
      }
      item.state = "failed";
      item.message = failure.message;
      // Those behind it go on.
      items = [...items.filter((one) => one !== item), ...(items.includes(item) ? [item] : [])];
      changed();
    }
  }
  const upload = (file) =>
    ask("/uploads", { method: "POST", headers: { "content-type": file.type || "image/png" }, body: file });
  async function follow(item) {
    for (;;) {
      const job = await ask(`/jobs/${item.job}`);
      const { progress } = job;
      item.progress = progress ? { index: progress.index + 1, total: progress.total } : null;
      if (["queued", "running"].includes(job.state)) {
        onChange();
        await rest(LOOK);
        continue;
      }
      if (job.error) throw new Error(job.error.message);
      if (job.state === "interrupted") throw new Error(job.message);
      for (const { id } of job.pictures) pictures.push({ id, prompt: job.request.prompt });
      items = items.filter((one) => one !== item);
      return changed();
    }
  }

  return {
    items: () => items,
    pictures: () => pictures,
    isPaused: () => isPaused,
    add(more) {
      items.push(...more.map(create));
      changed();
      work();
    },
    move(id, step) {
      const from = items.findIndex((one) => one.id === id);
      const to = from + step;
      if (from < 0 || to < 0 || to >= items.length) return;
      [items[from], items[to]] = [items[to], items[from]];
      changed();
    },
    remove(id) {
      const item = items.find((one) => one.id === id);
      if (item?.job && item.state === "running") post(`/jobs/${item.job}/cancel`).catch(() => {});
      items = items.filter((one) => one.id !== id);
      changed();
    },
    again(id) {
      const item = items.find((one) => one.id === id);
      Object.assign(item, { state: "waiting", message: "", progress: null, job: null });
      changed();
      work();
    },
    empty() {
      items = items.filter((one) => one.state === "running");
      changed();
    },
    pause(next) {
      isPaused = next;
      changed();
      work();
    },
  };
}
