/* Copying for the person. Browsers give a page the clipboard only over https or from this machine; elsewhere the text is
   selected, so that the keyboard copies it, and a sentence says why. */

/** Copies `text`; `select` selects it on the page. Resolves to "" or to the sentence that says why it was not copied. */
export async function copyText(text, select) {
  const words = window.studioLanguage.words("copying");
  select();
  try {
    await navigator.clipboard.writeText(text);
    return "";
  } catch {
    return window.isSecureContext ? words.refused : words.insecure;
  }
}

/** Selects what an element shows. */
export const selectIn = (element) => getSelection().selectAllChildren(element);
