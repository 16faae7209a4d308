/* Stands in the page's head, so that it runs before Gradio's scripts. It holds the clicks of the page's first moments,
   knows what a run has to wait for, keeps late answers from what a person has typed, and Gradio's stream of events from
   closing over an event that has just begun.
   The other scripts reach it through opening.js and waiting.js. */

(() => {
  const HELD = [
    "#tabs [role=tab][data-tab-id]",
    "#tabs .overflow-dropdown button",
    ".ls-fold > button.label-wrap",
    ".ls-generate",
    "#noise_viewer-run",
  ].join();
  const clicks = []; // what was clicked before the page could obey, the oldest first
  const work = new Set(); // promises of what a run has to wait for
  let obeying = false;

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
    open: null, // the tab that a link asks for
    restored: new Set(), // the forms whose fields are as they were, by their storage keys
    whenRestored: () => {}, // called after each; set by the header

    /** Keep a form's fields for a reload (sessionStorage) and for the next browser tab (localStorage). */
    keep(key, version, fields) {
      const kept = JSON.stringify({ version, fields });
      for (const storage of [sessionStorage, localStorage])
        if (!isNewer(storage.getItem(key), version)) storage.setItem(key, kept);
    },
    /** The fields that were kept; null where there are none, or a newer version of the studio has kept them. */
    kept(key, version) {
      const text = sessionStorage.getItem(key) ?? localStorage.getItem(key);
      if (isNewer(text, version)) {
        console.warn("Kept by a newer version of the studio, left alone:", key);
        return null;
      }
      try {
        const kept = JSON.parse(text);
        return kept?.version === undefined ? kept : kept.fields;
      } catch {
        return null;
      }
    },
    /** What Gradio is to write into a form's fields (studio/ui/keeping.py): `back` {fields, open}, but undefined, which
        writes nothing, into a field that no longer has the value that it was served with. It is the person's. */
    write(key, version, served, back, now) {
      const empty = (value) => value === null || value === undefined || value === "" || value === 0;
      const same = (one, other) => JSON.stringify(one) === JSON.stringify(other) || (empty(one) && other === null);
      const names = Object.keys(served);
      const typed = names.filter((name, k) => !same(now[k], served[name]));
      const written = Object.fromEntries(Object.entries(back?.fields || {}).filter(([name]) => !typed.includes(name)));
      if (typed.length)
        studio.keep(key, version, { ...Object.fromEntries(names.map((name, k) => [name, now[k]])), ...written });
      if (back?.open) studio.open = back.open;
      studio.restored.add(key);
      setTimeout(() => studio.whenRestored()); // once Gradio has written them
      return names.map((name) => written[name]);
    },
    /** From now on clicks are obeyed at once. Those before, the oldest first. */
    obey() {
      obeying = true;
      // Gradio draws the menu of tabs anew meanwhile, on a phone.
      const drawnAnew = (old) =>
        [...document.querySelectorAll(HELD)].find((one) => one.textContent === old.textContent);
      for (const target of clicks.splice(0)) (target.isConnected ? target : drawnAnew(target))?.click();
    },
    /** A run waits until the promise has ended, well or not. */
    during(promise) {
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
      const target = !obeying && event.target.closest?.(HELD);
      if (!target) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (!clicks.includes(target)) clicks.push(target);
    },
    true,
  );
  // Gradio begins to send a file in the moment after it was chosen.
  for (const kind of ["change", "drop", "paste"])
    addEventListener(
      kind,
      (event) => (kind !== "change" || event.target.matches?.("input[type=file]")) && studio.during(frames(2)),
      true,
    );

  // --------------------------------------------------------------------------------------- what a person touches

  const touches = new Map(); // elem_id => the number of the last touch of this field
  let touched = 0; // touches until now
  const touch = ({ target }) => {
    touched++;
    for (let at = target; at instanceof Element; at = at.parentElement) if (at.id) touches.set(at.id, touched);
  };
  addEventListener("input", touch, true);
  addEventListener("click", (event) => event.target.closest?.("button") && touch(event), true);
  // Gradio's lists take a choice by these, and tell no input.
  addEventListener("mousedown", (event) => event.target.closest?.("[role=option]") && touch(event), true);
  addEventListener(
    "keydown",
    (event) => event.key === "Enter" && event.target.matches?.("input") && touch(event),
    true,
  );

  // ------------------------------------------------------------------------------------------ Gradio's requests

  const plain = window.fetch;
  const begun = new Set(); // events that the server has taken and not yet ended
  const joining = new Set(); // requests to take one

  window.fetch = (resource, options) => {
    const path = new URL(resource.url || resource, location.href).pathname;
    if (path.endsWith("/queue/join")) return join(resource, options);
    if (path.endsWith("/queue/data")) return follow(resource, options);
    if (path.endsWith("/upload")) return send(resource, options);
    if (path.includes("/run/")) return ask(resource, options);
    return plain(resource, options);
  };

  /** A short question. Its answer writes fields that follow another; one that was touched since then is the person's, and
      keeps its value. */
  async function ask(resource, options) {
    const { fn_index } = typeof options?.body === "string" ? JSON.parse(options.body) : {};
    const { dependencies = [], components = [] } = window.gradio_config || {};
    const question = dependencies.find(({ id }) => id === fn_index);
    const lastTouch = (number) => {
      const one = components.find(({ id }) => id === number);
      return (one?.type !== "html" && touches.get(one?.props.elem_id)) || 0; // our own blocks keep what is theirs
    };
    // Gradio may ask later than the choice was made, when the question before is answered.
    const chosen = question?.targets.every(([, event]) => event === "input")
      ? Math.max(...question.targets.map(([id]) => lastTouch(id)))
      : 0;
    const since = chosen || touched;
    const answer = await plain(resource, options);
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

  /** An upload has ended when the field holds the file: its answer has been read, and Svelte has drawn it. */
  function send(resource, options) {
    const answer = plain(resource, options);
    studio.during(answer.then((one) => one.clone().text()).then(() => frames(2)));
    return answer;
  }

  async function join(resource, options) {
    const answer = plain(resource, options).then(async (one) => {
      const { event_id } = one.ok ? await one.clone().json() : {};
      if (event_id) begun.add(event_id);
      return one;
    });
    joining.add(answer);
    try {
      return await answer;
    } finally {
      joining.delete(answer);
    }
  }

  /** The stream of events. The server closes it when the last event has ended, and Gradio's client opens another for
      the next one, but only if it has heard of the end of the last: an event that begins between the two has no stream,
      and its click is lost. So the end is told only when nothing has begun meanwhile; else the stream goes on with what
      another one brings. */
  async function follow(resource, options) {
    const request = new Request(resource, options);
    const first = await plain(request.clone());
    if (!first.ok || !first.body) return first;
    const body = new ReadableStream({
      async start(stream) {
        try {
          let answer = first;
          while (answer?.ok) answer = (await pass(answer.body, stream)) ? await plain(request.clone()) : null;
          stream.close();
        } catch (error) {
          stream.error(error);
        }
      },
    });
    return new Response(body, { status: first.status, headers: first.headers });
  }

  /** Passes messages on until the stream ends. Answers whether it ended too early. */
  async function pass(body, stream) {
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
        if (kind === "process_completed") begun.delete(JSON.parse(message.slice("data:".length)).event_id);
        if (kind === "close_stream") {
          while (joining.size) await Promise.allSettled([...joining]);
          if (begun.size) return true;
        }
        stream.enqueue(encoder.encode(`${message}\n\n`));
      }
    }
    if (text) stream.enqueue(encoder.encode(text));
    return false;
  }
})();
