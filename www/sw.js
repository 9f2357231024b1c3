// Keeps the page on this device, so that after one visit everything works with the network off.
//
// `cargo task build` writes the list of files with a hash of each in place of the empty one. A file is kept under its
// name and hash: an update fetches what has changed, and a page never gets files of two versions. Models are kept when
// they are used; what the page is made of, always. Nothing is fetched from anywhere else.

const FILES = [];

const CACHE = "attnscope";
const SCOPE = new URL(registration.scope).pathname;
const hashes = new Map(FILES);

const modelOf = (file) => /^models\/([^/]+)\//.exec(file)?.[1];
const keyOf = (file) => new URL(`${file}?kept=${hashes.get(file)}`, registration.scope).href;

// Fetches what is not there yet. The server is asked whether what the browser has is still fresh, which costs no bytes.
async function keep(files) {
  const cache = await caches.open(CACHE);
  for (const file of files) {
    if (await cache.match(keyOf(file))) continue;
    const response = await fetch(new URL(file, registration.scope), { cache: "no-cache" });
    if (!response.ok) throw new Error(`${file}: ${response.status}`);
    await cache.put(keyOf(file), response);
  }
}

const ofModel = (id) => FILES.map(([file]) => file).filter((file) => modelOf(file) === id);

async function install() {
  await keep(FILES.map(([file]) => file).filter((file) => !modelOf(file)));
  // Models that an older version kept stay kept.
  const kept = await (await caches.open(CACHE)).keys();
  const models = new Set(kept.map(({ url }) => modelOf(new URL(url).pathname.slice(SCOPE.length))).filter(Boolean));
  for (const id of models) await keep(ofModel(id));
}

async function clean() {
  const cache = await caches.open(CACHE);
  const fresh = new Set(FILES.map(([file]) => keyOf(file)));
  for (const request of await cache.keys()) if (!fresh.has(request.url)) await cache.delete(request);
}

// The file an address names, as a static host would find it.
function fileOf(path) {
  const last = path.split("/").pop();
  const names = last === "" ? [`${path}index.html`] : [path, ...(last.includes(".") ? [] : [`${path}.html`, "index.html"])];
  return names.find((name) => hashes.has(name));
}

async function answer(request, file) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(keyOf(file));
  if (kept) return kept;
  const response = await fetch(request);
  if (response.status === 200) {
    const copy = response.clone();
    // A full disk must not take the file from the page.
    cache.put(keyOf(file), copy).catch(() => {});
  }
  return response;
}

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(clean()));

addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || request.headers.has("range") || url.origin !== location.origin) return;
  const file = fileOf(url.pathname.slice(SCOPE.length));
  if (file) event.respondWith(answer(request, file));
});

// The page names the model it computes with, and hears when that is kept, too.
addEventListener("message", (event) => {
  const { keep: id } = event.data ?? {};
  if (typeof id !== "string") return;
  const kept = keep(ofModel(id)).then(
    () => event.source.postMessage({ kept: id }),
    (problem) => event.source.postMessage({ problem: String(problem.message) }),
  );
  event.waitUntil(kept);
});
