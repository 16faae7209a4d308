/* The page's one entry: every block of studio/ui/blocks.py is drawn by the function of its name. */

import { camera } from "./camera.js";
import { compare, compareSaid } from "./compare/compare.js";
import { control } from "./control.js";
import { examples, header, landmarks, sentence } from "./controls.js";
import { broken } from "./elements.js";
import { helper } from "./helper.js";
import { liveMode } from "./live.js";
import { mask } from "./mask.js";
import { models } from "./models.js";
import { drop, offer } from "./picture.js";
import { stage } from "./stage.js";
import { start } from "./start.js";
import { viewer } from "./viewer.js";

const BLOCKS = {
  camera,
  compare,
  compareSaid,
  control,
  drop,
  examples,
  header,
  helper,
  landmarks,
  mask,
  models,
  offer,
  sentence,
  stage,
  start,
  viewer,
};

/** Draws the block `name` into `element`. `words`: what a block says that fails, {failed}. A failure stays in its block:
    the others of the page go on. */
export function mount(name, { element, watch, words, ...rest }) {
  const attempt = (act) => {
    try {
      act();
    } catch (error) {
      console.error(`${name}:`, error);
      broken(element, words.failed);
    }
  };
  element.replaceChildren(); // what stood there while the scripts were on their way
  attempt(() => BLOCKS[name]({ element, ...rest, watch: (props, act) => watch(props, () => attempt(act)) }));
}

liveMode();
