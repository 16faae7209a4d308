/* Pictures by the VAE itself or the tiny decoder, of the evaluation that one rests at. Moving through a run asks for
   nothing: only when nothing
   has moved for a moment the pictures that are missing come, one after the other, and are kept while there is room. */
const SETTLED = 350; // ms without a move
const ROOM = 64 * 2 ** 20; // bytes of decoded pictures

export class Decodings {
  constructor(context) {
    this.context = context;
    this.kept = new Map(); // key => {bitmap} or {failed}, the one used longest ago first
    this.bytes = 0;
    this.wanted = new Set(); // quantities of the evaluation that was drawn last
    this.at = null; // the evaluation that they belong to
    this.rested = null; // the one that one has rested at
    this.asking = null; // the key of the picture that is on its way
    this.resting = null;
  }

  key(quantity) {
    const { record, index, state } = this.context;
    return `${record.job} ${record.image} ${index} ${state.how} ${quantity}`;
  }

  /** The picture of a quantity of this evaluation, {bitmap} or {failed}; null while it is not here, and then it is asked
      for once the evaluation rests. */
  get(quantity) {
    const { record, index } = this.context;
    const key = this.key(quantity);
    const entry = this.kept.get(key);
    if (entry) {
      this.kept.delete(key);
      this.kept.set(key, entry);
      return entry;
    }
    const at = `${record.job} ${record.image} ${index} ${this.context.state.how}`;
    if (this.at !== at) this.wanted.clear();
    this.at = at;
    if (this.asking === key) return null;
    this.wanted.add(quantity);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.fetch(at), SETTLED);
    return null;
  }

  /** Fetch what is wanted of the evaluation that one rests at, one picture at a time. */
  async fetch(at) {
    this.rested = at;
    if (this.asking) return; // whoever is at it goes on with these
    const { context } = this;
    while (this.wanted.size && this.rested === this.at) {
      const { record, index } = context;
      const decoder = context.state.how === "tiny" ? "tiny" : "vae";
      const [quantity] = this.wanted;
      this.wanted.delete(quantity);
      this.asking = this.key(quantity);
      const picture = await this.ask(record, index, quantity, decoder);
      this.keep(this.asking, picture);
      this.asking = null;
      if (context.record === record && context.index === index) context.draw();
    }
    if (this.rested === this.at) this.ahead(at);
  }

  /** While one rests: the neighbours' predicted pictures by the tiny decoder, which is cheap enough for a guess. */
  async ahead(at) {
    const { context } = this;
    const { record, index } = context;
    if (context.state.how !== "tiny") return;
    for (const near of [index + 1, index - 1]) {
      const key = `${record.job} ${record.image} ${near} tiny denoised`;
      if (!record.evaluations[near] || this.kept.has(key) || this.asking || this.rested !== this.at || this.at !== at)
        continue;
      this.asking = key;
      const picture = await this.ask(record, near, "denoised", "tiny");
      this.asking = null;
      if (!picture.failed) this.keep(key, picture);
      if (this.wanted.size) return this.fetch(this.at); // one has moved meanwhile
    }
  }

  async ask(record, index, quantity, decoder) {
    const fields = {
      checkpoint: record.run.checkpoint,
      job: record.job,
      which: record.image,
      evaluation: index,
      quantity,
      decoder,
    };
    try {
      const answer = await fetch(`/ask/decoded?${new URLSearchParams(fields)}`);
      if (!answer.ok) return { failed: answer.status === 404 ? this.context.say("gone") : await answer.text() };
      return { bitmap: await createImageBitmap(await answer.blob()) };
    } catch {
      return { failed: this.context.say("ask.failed") };
    }
  }

  keep(key, made) {
    const size = (one) => (one.bitmap ? one.bitmap.width * one.bitmap.height * 4 : 0);
    this.kept.set(key, made);
    this.bytes += size(made);
    for (const [oldest, one] of this.kept) {
      if (this.bytes <= ROOM || oldest === key) break;
      this.kept.delete(oldest);
      this.bytes -= size(one);
      one.bitmap?.close();
    }
    // A failure is shown once; the next look asks again.
    if (made.failed) setTimeout(() => this.kept.delete(key), 5000);
  }
}
