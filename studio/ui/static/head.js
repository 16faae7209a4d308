/* Stands in the page's head, so that it runs before Gradio's scripts. It holds the clicks of the page's first
   moments and knows what a run has to wait for. It keeps late answers from overwriting what a person has typed, and
   it keeps Gradio's stream of events open for an event that has just begun. The other scripts reach it through
   opening.js and waiting.js. */

(() => {
  const CLICK_TARGETS = [
    "#tabs [role=tab][data-tab-id]",
    ".ls-fold > button.label-wrap",
    ".ls-generate",
    "#noise_viewer-run",
  ].join();
  const clicks = []; // elements that were clicked before the page was ready, the oldest first
  const work = new Set(); // promises that a run has to wait for
  let isReady = false;

  const frames = async (count) => {
    for (let k = 0; k < count; k++) await new Promise(requestAnimationFrame);
  };

  const isNewer = (text, version) => {
    try {
      return JSON.parse(text)?.version > version;
    } catch {
      return false;
    }
  };

  const studio = {
    open: null, // the tab that a link names
    restoredForms: new Set(), // storage keys of the forms whose fields are restored
    onRestore: () => {}, // called after each form; set by the header

    /** Stores a form's fields for a reload (sessionStorage) and for the next browser tab (localStorage). */
    keep(key, version, fields) {
      const text = JSON.stringify({ version, fields });
      for (const storage of [sessionStorage, localStorage])
        if (!isNewer(storage.getItem(key), version)) storage.setItem(key, text);
    },
    /** The stored fields; null where there are none, or where a newer version of the studio has stored them. */
    storedFields(key, version) {
      const text = sessionStorage.getItem(key) ?? localStorage.getItem(key);
      if (isNewer(text, version)) {
        console.warn("Kept by a newer version of the studio, left alone:", key);
        return null;
      }
      try {
        const value = JSON.parse(text);
        return value?.version === undefined ? value : value.fields;
      } catch {
        return null;
      }
    },
    /** What Gradio writes into a form's fields (studio/ui/keeping.py). `earlier` is {fields, open}. A field that no
        longer has its initial value is the person's: it gets undefined, which writes nothing. */
    write(key, version, initial, earlier, now) {
      const empty = (value) => value === null || value === undefined || value === "" || value === 0;
      const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other) || (empty(one) && other === null);
      const names = Object.keys(initial);
      const typedNames = names.filter((name, k) => !isSame(now[k], initial[name]));
      const values = Object.fromEntries(
        Object.entries(earlier?.fields || {}).filter(([name]) => !typedNames.includes(name)),
      );
      if (typedNames.length)
        studio.keep(key, version, { ...Object.fromEntries(names.map((name, k) => [name, now[k]])), ...values });
      if (earlier?.open) studio.open = earlier.open;
      studio.restoredForms.add(key);
      setTimeout(() => studio.onRestore()); // once Gradio has written them
      return names.map((name) => values[name]);
    },
    /** From now on the page obeys clicks at once. The earlier clicks follow now, the oldest first. */
    releaseClicks() {
      isReady = true;
      // Gradio may have drawn the row of tabs again.
      const replacementOf = (old) =>
        [...document.querySelectorAll(CLICK_TARGETS)].find((one) => one.textContent === old.textContent);
      for (const target of clicks.splice(0)) (target.isConnected ? target : replacementOf(target))?.click();
    },
    /** A run waits until the promise is settled, resolved or rejected. */
    holdRuns(promise) {
      work.add(promise);
      const end = () => work.delete(promise);
      promise.then(end, end);
      return promise;
    },
    busy: () => work.size > 0,
    async free() {
      while (work.size) await Promise.allSettled([...work]);
    },
  };
  window.latentStudio = studio;

  addEventListener(
    "click",
    (event) => {
      const target = !isReady && event.target.closest?.(CLICK_TARGETS);
      if (!target) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (!clicks.includes(target)) clicks.push(target);
    },
    true,
  );
  // Gradio begins to upload a file a moment after a person has chosen it.
  for (const kind of ["change", "drop", "paste"])
    addEventListener(
      kind,
      (event) => (kind !== "change" || event.target.matches?.("input[type=file]")) && studio.holdRuns(frames(2)),
      true,
    );

  // --------------------------------------------------------------------------------------- what a person touches

  const touches = new Map(); // elem_id => the number of the last touch of this field
  let touchCount = 0; // touches until now
  const touch = ({ target }) => {
    touchCount++;
    for (let at = target; at instanceof Element; at = at.parentElement) if (at.id) touches.set(at.id, touchCount);
  };
  addEventListener("input", touch, true);
  addEventListener("click", (event) => event.target.closest?.("button") && touch(event), true);
  // Gradio's lists take a choice by these events, without an input event.
  addEventListener("mousedown", (event) => event.target.closest?.("[role=option]") && touch(event), true);
  addEventListener(
    "keydown",
    (event) => event.key === "Enter" && event.target.matches?.("input") && touch(event),
    true,
  );

  // ------------------------------------------------------------------------------------------ Gradio's requests

  const browserFetch = window.fetch;
  const openEvents = new Set(); // events that the server has accepted and not yet ended
  const joins = new Set(); // requests for a new event

  window.fetch = (resource, options) => {
    const path = new URL(resource.url || resource, location.href).pathname;
    if (path.endsWith("/queue/join")) return join(resource, options);
    if (path.endsWith("/queue/data")) return follow(resource, options);
    if (path.endsWith("/upload")) return send(resource, options);
    if (path.includes("/run/")) return ask(resource, options);
    return browserFetch(resource, options);
  };

  /** A short question, whose answer writes fields that depend on another. A field that was touched since then is the
      person's and keeps its value. */
  async function ask(resource, options) {
    const { fn_index } = typeof options?.body === "string" ? JSON.parse(options.body) : {};
    const { dependencies = [], components = [] } = window.gradio_config || {};
    const question = dependencies.find(({ id }) => id === fn_index);
    const lastTouch = (number) => {
      const one = components.find(({ id }) => id === number);
      // Our own blocks protect their values themselves
      return (one?.type !== "html" && touches.get(one?.props.elem_id)) || 0;
    };
    // Gradio may ask later than the person chose, while it waits for the earlier answer.
    const choiceTouch = question?.targets.every(([, event]) => event === "input")
      ? Math.max(...question.targets.map(([id]) => lastTouch(id)))
      : 0;
    const since = choiceTouch || touchCount;
    const answer = await browserFetch(resource, options);
    if (!question || !answer.ok) return answer;
    const content = await answer.json();
    const withoutValue = (update) => {
      const { value: _, ...rest } = update?.__type__ === "update" ? update : {};
      return { ...rest, __type__: "update" };
    };
    if (Array.isArray(content.data))
      content.data = content.data.map((update, k) =>
        lastTouch(question.outputs[k]) > since ? withoutValue(update) : update,
      );
    return new Response(JSON.stringify(content), { status: answer.status, headers: answer.headers });
  }

  /** An upload ends when the field holds the file: its answer is read, and Svelte has drawn it. */
  function send(resource, options) {
    const answer = browserFetch(resource, options);
    studio.holdRuns(answer.then((one) => one.clone().text()).then(() => frames(2)));
    return answer;
  }

  async function join(resource, options) {
    const answer = browserFetch(resource, options).then(async (one) => {
      const { event_id } = one.ok ? await one.clone().json() : {};
      if (event_id) openEvents.add(event_id);
      return one;
    });
    joins.add(answer);
    try {
      return await answer;
    } finally {
      joins.delete(answer);
    }
  }

  /** The stream of events. The server closes it when the last event has ended. Gradio's client opens another for the
      next event, but only if it has heard of that end. An event that begins between the two has no stream, and its
      click is lost. So this function passes the end on only when no event has begun meanwhile; else it goes on with
      a new stream. */
  async function follow(resource, options) {
    const request = new Request(resource, options);
    const first = await browserFetch(request.clone());
    if (!first.ok || !first.body) return first;
    const body = new ReadableStream({
      async start(stream) {
        try {
          let answer = first;
          while (answer?.ok) answer = (await passOn(answer.body, stream)) ? await browserFetch(request.clone()) : null;
          stream.close();
        } catch (error) {
          stream.error(error);
        }
      },
    });
    return new Response(body, { status: first.status, headers: first.headers });
  }

  /** Passes messages on until the stream ends. Returns true if it ended too early. */
  async function passOn(body, stream) {
    const [reader, decoder, encoder] = [body.getReader(), new TextDecoder(), new TextEncoder()];
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      const messages = text.split("\n\n");
      text = messages.pop();
      for (const message of messages) {
        const kind = /"msg": ?"(\w+)"/.exec(message.slice(0, 100))?.[1];
        if (kind === "process_completed") openEvents.delete(JSON.parse(message.slice("data:".length)).event_id);
        if (kind === "close_stream") {
          while (joins.size) await Promise.allSettled([...joins]);
          if (openEvents.size) return true;
        }
        stream.enqueue(encoder.encode(`${message}\n\n`));
      }
    }
    if (text) stream.enqueue(encoder.encode(text));
    return false;
  }
})();
