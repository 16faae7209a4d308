/* The picture that a run starts from, kept by the browser for a reload: files do not fit into its storage of texts. Each
   browser tab keeps its own. */

const NAME = "latent-studio";
const STORE = "pictures";
const DAY = 24 * 60 * 60 * 1000; // ms that a picture is kept for a tab that does not come back
const TAB = "latent-studio-browser-tab"; // where a browser tab keeps the name it has given itself

const answered = (request) =>
  new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });

async function store(mode) {
  const opening = indexedDB.open(NAME, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await answered(opening);
  return database.transaction(STORE, mode).objectStore(STORE);
}

function keyOf(field) {
  let tab = sessionStorage.getItem(TAB);
  if (!tab) {
    tab = `${Date.now()}-${Math.random()}`;
    sessionStorage.setItem(TAB, tab);
  }
  return `${tab} ${field}`;
}

/** Keep the picture of a field, or none (null). A browser that keeps nothing (a private window) is no fault. */
export async function keepPicture(field, blob) {
  try {
    const pictures = await store("readwrite");
    if (blob) pictures.put({ blob, at: Date.now() }, keyOf(field));
    else pictures.delete(keyOf(field));
    const cursor = pictures.openCursor();
    cursor.onsuccess = () => {
      if (!cursor.result) return;
      if (Date.now() - cursor.result.value.at > DAY) cursor.result.delete();
      cursor.result.continue();
    };
  } catch (error) {
    console.warn("The picture is not kept for a reload:", error);
  }
}

/** The picture kept for a field, or null. */
export async function storedPicture(field) {
  try {
    return (await answered((await store("readonly")).get(keyOf(field))))?.blob ?? null;
  } catch {
    return null;
  }
}
