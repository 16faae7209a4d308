/* Figures of the chapter on training: what is learned, as three formulas, and the exercise itself. */

import { h } from "../../static/elements.js";
import { ask, askUntilLoaded, gaussians, latest } from "../../viewer/static/ask.js";
import { gainOfLevel } from "../../viewer/static/calm.js";
import { number } from "../../viewer/static/chart.js";

/** The parts of a text with symbols: letters after "_" are set lower. */
const lowered = (text) => text.split(/_(\p{L}+)/u).map((part, k) => (k % 2 ? h("sub", {}, part) : part));

/** The loss in pixels, in latents, and with words; under each what this model has of it on the chapter's picture. */
const objectives = {
  name: "objectives",
  build(context) {
    const { tell: say } = context;
    const NAMES = ["pixels", "latents", "text"];
    const values = Object.fromEntries(NAMES.map((name) => [name, h("small", { "data-objective": name })]));
    const element = h(
      "div",
      { class: "ls-learn-objectives" },
      h("h4", {}, say("objective")),
      h(
        "div",
        { class: "ls-learn-three" },
        ...NAMES.map((name) =>
          h(
            "div",
            {},
            h("strong", {}, say(`objective.${name}`)),
            h("p", { class: "ls-learn-formula" }, ...lowered(say(`objective.${name}.formula`))),
            values[name],
          ),
        ),
      ),
      h("p", { class: "ls-note" }, ...lowered(say("objective.symbols"))),
    );
    let losses = null; // the answer to the question `losses` about the chapter's picture
    context.tellLosses = (answer) => {
      losses = answer;
      draw();
    };
    const mean = (list) => number(list.reduce((sum, one) => sum + one, 0) / list.length, 4);
    function draw() {
      const shape = context.record?.shape?.join(" × ");
      values.pixels.textContent = shape ? say("objective.pixels.none", { shape }) : "";
      for (const [name, caption] of [
        ["latents", "empty"],
        ["text", "right"],
      ])
        values[name].textContent = losses
          ? say(`objective.${name}.value`, { loss: mean(losses.losses[caption]), count: losses.timesteps.length })
          : say("objective.wait");
    }
    return { element, draw };
  },
};

/** One picture with noise, and three noises of which one is in it. The visitor chooses, then the network does. */
const guess = {
  name: "guess",
  build(context) {
    const { tell: say, painter } = context;
    const TIMESTEPS = [300, 500, 700]; // in turn: less and more noise
    const LETTERS = ["A", "B", "C"];
    const newest = latest();
    const pane = (name, ...more) => {
      const canvas = h("canvas", { role: "img", "aria-label": name });
      const note = h("small", {});
      const figure = h(
        "figure",
        { class: "ls-pane" },
        h("div", { class: "ls-pane-table" }, h("div", { class: "ls-frame" }, canvas)),
        h("figcaption", {}, h("span", { class: "ls-pane-name" }, name), note),
        ...more,
      );
      return { canvas, note, figure };
    };
    const noisy = pane(say("guess.noisy"));
    const buttons = LETTERS.map((letter, k) =>
      h("button", { class: "ls-button", type: "button", onclick: () => pick(k) }, say("guess.pick", { letter })),
    );
    const panes = LETTERS.map((letter, k) => pane(say("guess.noise", { letter }), buttons[k]));
    const network = pane(say("guess.network"));
    const outcome = h("p", { role: "status" });
    const score = h("p", { class: "ls-note", hidden: true });
    const again = h("button", { class: "ls-button", type: "button", onclick: begin }, say("guess.again"));
    const row = h(
      "div",
      { class: "ls-row-of ls-learn-guess" },
      noisy.figure,
      ...panes.map((one) => one.figure),
      network.figure,
    );
    const element = h(
      "div",
      { class: "ls-learn-steps" },
      h("h4", {}, say("guess")),
      h("p", { class: "ls-note" }, say("guess.how")),
      row,
      outcome,
      score,
      again,
    );
    let pictureKey = null;
    let round = null; // {answer, noises, place, distances, choice}
    const count = { rounds: 0, own: 0, network: 0 };

    async function begin() {
      const { picture } = context;
      pictureKey = picture.key;
      round = null;
      outcome.textContent = say("figure.made");
      const seed = Math.floor(Math.random() * 1_000_000);
      const question = {
        ...picture.fields,
        checkpoint: context.checkpoint(),
        caption: picture.file ? "" : context.record?.run?.prompt || "",
        timestep: TIMESTEPS[count.rounds % TIMESTEPS.length],
        seed,
      };
      try {
        const answer = await newest(() => askUntilLoaded(() => ask("error", question, picture.file)));
        if (!answer) return;
        const { values } = answer.tensors.noise;
        const place = Math.floor(Math.random() * LETTERS.length);
        const noises = LETTERS.map((_, k) => (k === place ? values : gaussians(values.length, seed + 1 + k)));
        const distances = noises.map((noise) => distance(answer.tensors.noise_pred.values, noise));
        round = { answer, noises, place, distances, choice: null };
        outcome.textContent = "";
        drawRound();
      } catch (failure) {
        outcome.textContent = failure.message || say("figure.failed");
        pictureKey = null; // the next drawing asks again
      }
    }

    const distance = (one, other) => one.reduce((sum, value, k) => sum + (value - other[k]) ** 2, 0) / one.length;

    function pick(k) {
      if (!round || round.choice !== null) return;
      const { place, distances } = round;
      round.choice = k;
      const its = distances.indexOf(Math.min(...distances));
      count.rounds++;
      count.own += k === place;
      count.network += its === place;
      outcome.textContent = say(k === place ? "guess.right" : "guess.wrong", {
        letter: LETTERS[place],
        network: LETTERS[its],
      });
      score.textContent = say("guess.score", count);
      score.hidden = false;
      drawRound();
    }

    function paint(canvas, values, shape, gain) {
      const decoder = context.record?.decoder;
      if (decoder) painter.picture(canvas, values, shape, decoder, { gain });
      else painter.tiles(canvas, values, shape, 3);
    }
    function drawRound() {
      const { answer, noises, place, distances, choice } = round;
      const { z_t, noise_pred } = answer.tensors;
      const isOver = choice !== null;
      const pure = gainOfLevel({ a: 0, s: 1 });
      paint(noisy.canvas, z_t.values, z_t.shape, gainOfLevel(answer.run));
      noisy.note.textContent = `t = ${answer.run.timestep}`;
      panes.forEach((one, k) => {
        paint(one.canvas, noises[k], z_t.shape, pure);
        one.note.textContent = isOver ? say("guess.distance", { value: number(distances[k], 3) }) : "";
        one.figure.toggleAttribute("data-true", isOver && k === place);
        buttons[k].disabled = isOver;
        buttons[k].setAttribute("aria-pressed", String(choice === k));
      });
      network.figure.hidden = !isOver;
      if (isOver) paint(network.canvas, noise_pred.values, z_t.shape, pure);
      again.hidden = !isOver;
    }

    again.hidden = network.figure.hidden = true;
    return {
      element,
      draw() {
        const { picture } = context;
        element.hidden = !picture || !context.checkpoint();
        if (element.hidden) return;
        if (pictureKey !== picture.key) begin();
        else if (round) drawRound();
      },
    };
  },
};

export const TRAINING = [objectives, guess];
