/* Puts the page's texts into it, in the visitor's language, before Gradio draws it: stands in the page behind the layout,
   below the texts themselves (studio/ui/assets.py). The layout is in English and says which text stands where. */

(() => {
  const studio = window.studioLanguage;
  const YEAR = 365 * 24 * 3600;

  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

  /** A message [key, {values}] as a sentence; a value may be a message. A key without a text is the text. */
  const sentence = ([key, values = {}]) =>
    fill(
      studio.texts[key] ?? key,
      Object.fromEntries(Object.entries(values).map(([name, one]) => [name, Array.isArray(one) ? sentence(one) : one])),
    );

  /** The texts under a prefix, by what follows it. */
  studio.words = (prefix) =>
    Object.fromEntries(
      Object.entries(studio.texts)
        .filter(([key]) => key.startsWith(`${prefix}.`))
        .map(([key, text]) => [key.slice(prefix.length + 1), text]),
    );

  /** From the next request on the studio speaks another language. */
  studio.choose = (language) => {
    const isFramed = window.top !== window; // as on a Hugging Face Space: the rules of studio/web/cookies.py
    const secure = location.protocol === "https:" ? "; Secure" : "";
    const rules = isFramed && secure ? "SameSite=None; Secure; Partitioned" : `SameSite=Lax${secure}`;
    // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is absent without https
    document.cookie = `${studio.cookie}=${language}; Path=/; Max-Age=${YEAR}; ${rules}`;
  };

  const put = (place, path, text) => {
    const [last, ...before] = [...path].reverse();
    const holder = before.reverse().reduce((one, name) => one?.[name], place);
    if (holder) holder[last] = text;
  };

  for (const { props, says = [] } of window.gradio_config?.components || []) {
    for (const [path, message] of says) put(props, path, sentence(message));
    for (const [name, value] of Object.entries(props.props || {}))
      if (value?.$words) props.props[name] = studio.words(value.$words);
  }

  // Gradio's own words follow the browser's language, which may differ from the language of the page.
  for (const [name, value] of Object.entries({ language: studio.tag, languages: [studio.tag] }))
    Object.defineProperty(navigator, name, { value, configurable: true });
})();
