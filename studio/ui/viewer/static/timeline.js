/* Panel: the predicted pictures of a run in a row, of as many evaluations as there is room for; mouse, touch and keys
   move through all of them. */
const THUMBNAIL = 40; // pixels, the least width of one

/** Which evaluations have a thumbnail: all, or evenly many from the first to the last. */
function evaluationsShown(total, width) {
  const many = Math.max(2, Math.floor(width / THUMBNAIL));
  if (!width || total <= many) return Array.from({ length: total }, (_, k) => k);
  return Array.from({ length: many }, (_, k) => Math.round((k * (total - 1)) / (many - 1)));
}

export const panel = {
  name: "timeline",
  place: "way",
  build(context) {
    const { h, say } = context;
    const cells = h("div", { class: "ls-cells" });
    const cursor = h("b", { class: "ls-cursor" });
    const branchMark = h("b", { class: "ls-left-at", hidden: true, title: say("branches.left") });
    const film = h(
      "div",
      {
        class: "ls-film ls-timeline",
        role: "slider",
        tabindex: 0,
        "aria-label": say("timeline"),
        "aria-valuemin": 1,
        title: say("timeline.help"),
      },
      cells,
      branchMark,
      cursor,
    );
    const ways = h("div", { class: "ls-ways" }); // marks where other runs left this one
    const element = h("div", {}, film, ways, context.caption("timeline"));
    let recordHere = null;
    let totalHere = 1;
    let shownHere = "";

    const point = (event) => {
      const box = film.getBoundingClientRect();
      context.walk(Math.floor(((event.clientX - box.left) / box.width) * totalHere));
    };
    let width = 0;
    new ResizeObserver(() => {
      if (film.clientWidth === width) return;
      width = film.clientWidth;
      if (width && context.record?.evaluations.length) context.draw();
    }).observe(film);
    film.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse" || event.buttons) point(event);
    });
    film.addEventListener("pointerdown", (event) => {
      film.setPointerCapture(event.pointerId);
      point(event);
    });

    /** The predicted picture with one pixel for each latent cell. Without a decoder its first three channels are the
        colours. */
    function thumbnail(record, index) {
      const canvas = h("canvas", { "aria-hidden": "true" });
      const latents = record.latents(index, "denoised");
      if (!latents) return canvas;
      if (record.decoder)
        context.painter.picture(canvas, latents, record.shape, record.decoder, { stride: record.decoder.scale });
      else
        context.painter.tiles(
          canvas,
          latents.subarray(0, record.shape[1] * record.shape[2]),
          [1, ...record.shape.slice(1)],
          3,
        );
      return canvas;
    }
    return {
      element,
      draw(_at, total) {
        const { record } = context;
        totalHere = total;
        const shown = evaluationsShown(total, film.clientWidth);
        if (recordHere !== record || shownHere !== shown.join()) {
          recordHere = record;
          shownHere = shown.join();
          cells.replaceChildren(...shown.map(() => h("span", {})));
        }
        [...cells.children].forEach((cell, place) => {
          const k = shown[place];
          if (cell.firstChild || !record.evaluations[k]) return;
          // The second evaluation of a step (Heun and its kin) belongs to that step and is marked so.
          if (record.evaluations[k].stage === 2) cell.append(h("i", { class: "ls-second", title: say("second") }));
          cell.append(thumbnail(record, k));
        });
        const from = record.run.branch?.evaluation;
        branchMark.hidden = !from;
        if (from) branchMark.style.left = `${(from / total) * 100}%`;
        const children = context.childrenOf?.() || [];
        const key = children.map(({ job, evaluation }) => `${job} ${evaluation} ${total}`).join();
        if (ways.dataset.key !== key) {
          ways.dataset.key = key;
          ways.replaceChildren(
            ...children.map(({ job, evaluation, words }) => {
              const word = say("branches.child", { index: evaluation + 1, words });
              const way = h("button", {
                class: "ls-way",
                type: "button",
                title: word,
                "aria-label": word,
                onclick: () => context.open(job, 0),
              });
              way.style.left = `${(evaluation / total) * 100}%`;
              return way;
            }),
          );
        }
        cursor.style.left = `${((context.index + 0.5) / total) * 100}%`;
        film.setAttribute("aria-valuemax", total);
        film.setAttribute("aria-valuenow", context.index + 1);
        film.setAttribute("aria-valuetext", say("evaluation", { index: context.index + 1, total }));
      },
    };
  },
};
