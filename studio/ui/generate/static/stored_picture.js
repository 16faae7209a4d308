/* Stores the picture that a run starts from in the browser, for a reload. It is too large for the browser's storage
   of texts, so it goes into IndexedDB. Each browser tab stores its own. */

const NAME = "latent-studio";
const STORE = "pictures";
const DAY = 24 * 60 * 60 * 1000; // ms for which the picture of a closed tab stays
const TAB = "latent-studio-browser-tab"; // where a browser tab stores the name it gives itself

const resultOf = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function store(mode) {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  const database = await resultOf(request);
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

/** Stores the picture of a field, or none (null). A browser that stores nothing (a private window) is no error. */
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

/** The stored picture of a field, or null. */
export async function storedPicture(field) {
  try {
    return (await resultOf((await store("readonly")).get(keyOf(field))))?.blob ?? null;
  } catch {
    return null;
  }
}
