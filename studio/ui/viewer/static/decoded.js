/* Pictures by the VAE itself or the tiny decoder, for the evaluation where the viewer stands still. Moving through a
   run asks for nothing. After a moment without a move the missing pictures come one by one; they stay while there is
   room. */
const SETTLED = 350; // ms without a move
const ROOM = 64 * 2 ** 20; // bytes of decoded pictures

export class Decodings {
  constructor(context) {
    this.context = context;
    this.entries = new Map(); // key => {bitmap} or {error}, the least recently used first
    this.bytes = 0;
    this.quantities = new Set(); // quantities of the last drawn evaluation that have no picture yet
    this.at = null; // the evaluation of these quantities
    this.restPosition = null; // the evaluation where the viewer stands still
    this.pendingKey = null; // the key of the picture that was requested
    this.timer = null;
  }

  key(quantity) {
    const { record, index, state } = this.context;
    return `${record.job} ${record.image} ${index} ${state.how} ${quantity}`;
  }

  /** The picture of a quantity at this evaluation, {bitmap} or {error}. It is null while the picture is missing,
      which is then requested once the viewer stands still. */
  get(quantity) {
    const { record, index } = this.context;
    const key = this.key(quantity);
    const entry = this.entries.get(key);
    if (entry) {
      this.entries.delete(key);
      this.entries.set(key, entry);
      return entry;
    }
    const at = `${record.job} ${record.image} ${index} ${this.context.state.how}`;
    if (this.at !== at) this.quantities.clear();
    this.at = at;
    if (this.pendingKey === key) return null;
    this.quantities.add(quantity);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(at), SETTLED);
    return null;
  }

  /** Fetches the missing pictures of this evaluation, one at a time. */
  async fetch(at) {
    this.restPosition = at;
    if (this.pendingKey) return; // the loop that runs already goes on with these
    const { context } = this;
    while (this.quantities.size && this.restPosition === this.at) {
      const { record, index } = context;
      const decoder = context.state.how === "tiny" ? "tiny" : "vae";
      const [quantity] = this.quantities;
      this.quantities.delete(quantity);
      this.pendingKey = this.key(quantity);
      const picture = await this.ask(record, index, quantity, decoder);
      this.keep(this.pendingKey, picture);
      this.pendingKey = null;
      if (context.record === record && context.index === index) context.draw();
    }
    if (this.restPosition === this.at) this.ahead(at);
  }

  /** While the viewer stands still: fetches the neighbours' predicted pictures by the tiny decoder, which is cheap
      enough. */
  async ahead(at) {
    const { context } = this;
    const { record, index } = context;
    if (context.state.how !== "tiny") return;
    for (const near of [index + 1, index - 1]) {
      const key = `${record.job} ${record.image} ${near} tiny denoised`;
      if (
        !record.evaluations[near] ||
        this.entries.has(key) ||
        this.pendingKey ||
        this.restPosition !== this.at ||
        this.at !== at
      )
        continue;
      this.pendingKey = key;
      const picture = await this.ask(record, near, "denoised", "tiny");
      this.pendingKey = null;
      if (!picture.error) this.keep(key, picture);
      if (this.quantities.size) return this.fetch(this.at); // the viewer has moved meanwhile
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
      if (!answer.ok) return { error: answer.status === 404 ? this.context.say("gone") : await answer.text() };
      return { bitmap: await createImageBitmap(await answer.blob()) };
    } catch {
      return { error: this.context.say("ask.failed") };
    }
  }

  keep(key, entry) {
    const size = (one) => (one.bitmap ? one.bitmap.width * one.bitmap.height * 4 : 0);
    this.entries.set(key, entry);
    this.bytes += size(entry);
    for (const [oldest, one] of this.entries) {
      if (this.bytes <= ROOM || oldest === key) break;
      this.entries.delete(oldest);
      this.bytes -= size(one);
      one.bitmap?.close();
    }
    // A failure is shown for a while; after that the picture is requested again.
    if (entry.error) setTimeout(() => this.entries.delete(key), 5000);
  }
}
