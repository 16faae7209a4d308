/* Attention maps of words from the recording: pieces of a word are summed, layers averaged, then normalised. */

export const ALL = "all"; // the mean over down and up blocks, layer by layer

/** `choice`: {group, norm}, read at every call. `group`: a place such as "down.32x32", or ALL. `norm`:
    "probability", "share" (of the words of the prompt) or "relative" (to the map's own range). */
export function attentionMaps(context, choice) {
  const { say } = context;

  /** The evaluation whose attention is shown: this one, or the last one before it with a recorded map
      (docs/record.md). */
  function mapIndex() {
    const { record, index } = context;
    for (let k = index; k >= 0; k--) if (record.evaluations[k].attention) return k;
    return record.evaluations.findIndex((entry) => entry.attention);
  }

  const textOf = (record, index) => record.evaluations[index].attention_text ?? 0;

  /** The words of the text at an evaluation: [{key, label, kind, rows}]. A word is all its pieces. */
  function wordsAt(index) {
    const { record } = context;
    const text = textOf(record, index);
    return record.remember(`attention words ${text}`, () => {
      const words = new Map();
      record.run.attention_rows[text].forEach((row, r) => {
        const chunk = record.run.tokens.prompt[text].chunks[row.chunk];
        const kind = row.position === null || !chunk ? "padding" : chunk.kinds[row.position];
        const key = kind === "content" ? `${row.chunk} ${chunk.words[row.position]}` : `${row.chunk} ${kind}`;
        const label = kind === "content" ? chunk.text[row.position].trim() : say(`words.${kind}`);
        const word = words.get(key);
        if (word) {
          word.rows.push(r);
          if (kind === "content") word.label += label;
        } else words.set(key, { key, label, kind, rows: [r] });
      });
      return [...words.values()];
    });
  }

  /** The groups of the present choice, each with its share: every layer has the same weight (DAAM). */
  function parts(entry) {
    const names = Object.keys(entry.attention);
    if (choice.group !== ALL) return [[choice.group, 1]];
    const layers = context.record.run.attention_layers;
    const counts = names
      .filter((one) => !one.startsWith("mid."))
      .map((one) => [
        one,
        layers.filter((layer) => `${layer.place}.${layer.height}x${layer.width}` === one).length || 1,
      ]);
    const total = counts.reduce((sum, [, many]) => sum + many, 0);
    return counts.map(([one, many]) => [one, many / total]);
  }

  /** The probability that each place looks at one word, on the finest grid of the choice. It is the sum over the
      word's pieces; a mean would halve long words. */
  function map(index, word) {
    const { record } = context;
    const entry = record.evaluations[index];
    return record.remember(`attention ${choice.group} ${index} ${word.key}`, () => {
      const shares = parts(entry);
      const height = Math.max(...shares.map(([one]) => entry.attention[one].height));
      const width = Math.max(...shares.map(([one]) => entry.attention[one].width));
      const values = new Float32Array(height * width);
      for (const [one, share] of shares) {
        const from = entry.attention[one];
        const sum = new Float32Array(from.height * from.width);
        for (const r of word.rows) for (let k = 0; k < sum.length; k++) sum[k] += from.values[r * sum.length + k];
        add(values, height, width, sum, from.height, from.width, share);
      }
      return { values, height, width };
    });
  }

  /** A word's map for drawing: {values, height, width, low, high}. */
  function normalize(index, word) {
    const raw = map(index, word);
    if (choice.norm === "probability") return { ...raw, high: highest() };
    if (choice.norm === "share") {
      const content = wordsAt(index)
        .filter((one) => one.kind === "content")
        .map((one) => map(index, one).values);
      return {
        ...raw,
        values: raw.values.map((value, k) => value / (content.reduce((sum, one) => sum + one[k], 0) || 1)),
        high: 1,
      };
    }
    const [low, high] = [Math.min(...raw.values), Math.max(...raw.values)];
    return { ...raw, values: raw.values.map((value) => (value - low) / (high - low || 1)), high: 1 };
  }

  /** The one scale: the greatest probability of any word of the prompt at any evaluation. */
  function highest() {
    const { record } = context;
    return record.remember(`attention scale ${choice.group}`, () => {
      let high = 0;
      record.evaluations.forEach((entry, k) => {
        if (entry.attention)
          for (const word of wordsAt(k))
            if (word.kind === "content") for (const value of map(k, word).values) if (value > high) high = value;
      });
      return high;
    });
  }

  return { mapIndex, textOf, wordsAt, parts, map, normalize };
}

/** Adds a smaller grid to a larger one, bilinear between its centres. */
function add(to, H, W, from, h_, w_, share) {
  for (let y = 0; y < H; y++) {
    const fy = Math.min(h_ - 1, Math.max(0, ((y + 0.5) * h_) / H - 0.5));
    const [y0, y1] = [Math.floor(fy), Math.min(h_ - 1, Math.floor(fy) + 1)];
    for (let x = 0; x < W; x++) {
      const fx = Math.min(w_ - 1, Math.max(0, ((x + 0.5) * w_) / W - 0.5));
      const [x0, x1] = [Math.floor(fx), Math.min(w_ - 1, Math.floor(fx) + 1)];
      const upper = from[y0 * w_ + x0] * (1 - fx + x0) + from[y0 * w_ + x1] * (fx - x0);
      const lower = from[y1 * w_ + x0] * (1 - fx + x0) + from[y1 * w_ + x1] * (fx - x0);
      to[y * W + x] += share * (upper * (1 - fy + y0) + lower * (fy - y0));
    }
  }
}
