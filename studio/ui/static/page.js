/* The page's one entry: a function of its own name draws each block of studio/ui/blocks.py. */

import { compare, compareStatus } from "../compare/static/compare.js";
import { camera } from "../generate/static/camera.js";
import { control } from "../generate/static/control.js";
import { drawer } from "../generate/static/drawer.js";
import { helper } from "../generate/static/helper.js";
import { liveMode } from "../generate/static/live.js";
import { liveCanvas } from "../generate/static/live_canvas.js";
import { mask } from "../generate/static/mask.js";
import { drop, offer } from "../generate/static/picture.js";
import { presets } from "../generate/static/presets.js";
import { promptBoxes } from "../generate/static/prompt_box.js";
import { tokens } from "../generate/static/prompt_tokens.js";
import { stage } from "../generate/static/stage.js";
import { start } from "../generate/static/start.js";
import { styles } from "../generate/static/styles.js";
import { learn } from "../learn/static/learn.js";
import { library } from "../library/static/library.js";
import { models } from "../models/static/models.js";
import { comparedRun, pictureSheet, settingsButton } from "../picture_sheet/static/sheet.js";
import { queue } from "../queue/static/queue.js";
import { viewer } from "../viewer/static/viewer.js";
import { examples, header, landmarks, sentence } from "./controls.js";
import { showFailure } from "./elements.js";
import { passOpenLists } from "./open_lists.js";

const BLOCKS = {
  camera,
  compare,
  compareStatus,
  comparedRun,
  control,
  drawer,
  drop,
  examples,
  header,
  helper,
  landmarks,
  library,
  learn,
  liveCanvas,
  mask,
  models,
  offer,
  pictureSheet,
  presets,
  queue,
  sentence,
  settingsButton,
  stage,
  start,
  styles,
  tokens,
  viewer,
};

/** Draws the block `name` into `element`. `words.failed`: the sentence of a block that fails. A failure stays in its
    block, and the others go on. */
export function mount(name, { element, watch, words, ...rest }) {
  const attempt = (act) => {
    try {
      act();
    } catch (error) {
      console.error(`${name}:`, error);
      showFailure(element, words.failed);
    }
  };
  element.replaceChildren(); // removes what stood there before the scripts came
  attempt(() => BLOCKS[name]({ element, ...rest, watch: (props, act) => watch(props, () => attempt(act)) }));
}

liveMode("text_to_image");
liveMode("image_to_image");
promptBoxes();
passOpenLists();
