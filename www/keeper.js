// Fetches models that the visitor asks for from other hosts, and keeps them in this browser.
//
// A worker of its own: it is the only script of the page that may ask other hosts (the content policy of the page and of
// the engine allows none), and it asks only for what a message names. It works beside the engine, so that an experiment
// runs on while a model arrives, and a download outlives an engine that stops.
//
// A message is `{ id, json, files }`, an answer `{ id, json, files }`; `json` says what, `files` are blobs in the order of
// the names in it. Progress and a sample carry the id of the question they belong to; `done` or `problem` ends it.
//
// Kept models lie in the origin's private file system, a folder each: the files under their names and `record.json`. A
// file grows as its bytes arrive, so a download that was interrupted goes on where it stopped, also after a reload.
// Where the browser keeps nothing (a private window, a full disk, another tab that writes the same model) everything
// works, but the files live only as long as the page.

const FOLDER = "models";
const RECORD = "record.json";
const TRIES = 4;
const PAUSE_MILLIS = 400;
const STALL_MILLIS = 30_000;
const HUB = "https://huggingface.co";

class Problem extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const stopped = () => new Problem("stopped", "stopped; what has arrived is kept, and fetching again goes on from there");

// ---- names ----

// What a visitor typed → where the files are. `source` is the canonical form, which stands in links.
export function locate(text) {
  const typed = text.trim().replace(/^hf:/, "").replace(/^url:/, "");
  const repository = /^(?:https:\/\/(?:huggingface\.co|hf\.co)\/)?([\w.-]+\/[\w.-]+)(?:@([\w.-]+)|\/(?:tree|resolve|blob)\/([\w.-]+))?\/?$/.exec(typed);
  if (repository && !typed.includes("..")) {
    const [, name, at, tree] = repository;
    const revision = at ?? tree ?? "main";
    return {
      source: `hf:${name}${revision === "main" ? "" : `@${revision}`}`,
      name: name.split("/")[1],
      base: `${HUB}/${name}/resolve/${revision}/`,
    };
  }
  let url;
  try {
    url = new URL(typed);
  } catch {
    throw new Problem("parse", `${text.trim() || "nothing"} is neither like owner/name on Hugging Face nor an address that begins with https://`);
  }
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && here)) {
    throw new Problem("parse", `${url.protocol}// is not asked; give an address with https://, or http:// on this machine`);
  }
  url.hash = "";
  const parts = url.pathname.split("/").filter(Boolean);
  const last = parts.at(-1) ?? url.hostname;
  if (/\.bin$/.test(last)) {
    return { source: `url:${url.href}`, name: last.replace(/\.bin$/, ""), base: new URL("./", url).href, bin: last };
  }
  // The address of one of the files names its folder.
  if (/\.(json|safetensors|txt)$/.test(last)) url.pathname = url.pathname.slice(0, -last.length);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return { source: `url:${url.href}`, name: decodeURIComponent(url.pathname.split("/").filter(Boolean).at(-1) ?? url.hostname), base: url.href };
}

// Which of the files of a folder a loader reads.
export function isModelFile(name) {
  if (["config.json", "tokenizer.json", "vocab.json", "merges.txt", "model.safetensors.index.json"].includes(name)) return true;
  return name.endsWith(".safetensors") || (name.endsWith(".bin") && !name.startsWith("pytorch_model") && !name.startsWith("training_args"));
}

const isTokenizer = (name) => /^tok.*\.bin$/.test(name);

async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const text = (string) => new TextEncoder().encode(string);

// SHA-256 of every file, and of all bytes file behind file in alphabetical order, which names the model; the engine
// computes the same. Null where the page is not served securely, since the browser then computes none.
export async function hashes(files) {
  const sorted = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  const each = {};
  for (const { name, file } of sorted) each[name] = await sha256(await file.arrayBuffer());
  const whole = await sha256(await new Blob(sorted.map(({ file }) => file)).arrayBuffer());
  return { each, whole };
}

const idOf = (source, hash) => (hash ? `${source}~${hash.slice(0, 16)}` : source);

// ---- what is kept ----

async function folder() {
  try {
    return await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
  } catch {
    return null;
  }
}

// A short name that any file system takes.
const nameOf = async (source) => ((await sha256(text(source))) ?? "").slice(0, 32);

async function readRecord(place) {
  try {
    return JSON.parse(await (await (await place.getFileHandle(RECORD)).getFile()).text());
  } catch {
    return null;
  }
}

async function write(place, name, bytes) {
  const handle = await (await place.getFileHandle(name, { create: true })).createSyncAccessHandle();
  try {
    handle.truncate(0);
    handle.write(bytes);
    handle.flush();
  } finally {
    handle.close();
  }
}

const writeRecord = (place, record) => write(place, RECORD, text(JSON.stringify(record)));

async function records() {
  const all = [];
  const root = await folder();
  if (!root) return all;
  for await (const [dir, place] of root.entries()) {
    if (place.kind !== "directory") continue;
    const record = await readRecord(place);
    if (record) all.push({ dir, place, record });
    else await root.removeEntry(dir, { recursive: true }).catch(() => {});
  }
  return all.sort((a, b) => (a.record.name < b.record.name ? -1 : 1));
}

async function keptFiles({ place, record }) {
  const files = [];
  for (const [name, { size }] of Object.entries(record.files)) {
    const file = await (await place.getFileHandle(name)).getFile();
    if (file.size !== size) throw new Problem("file", `${name} is ${file.size} bytes long but was ${size}; the browser damaged it, so fetch the model again`);
    files.push({ name, file });
  }
  return files;
}

// A file that grows in the browser's storage.
class Kept {
  static async open(place, name) {
    const handle = await place.getFileHandle(name, { create: true });
    const access = await handle.createSyncAccessHandle();
    return Object.assign(new Kept(), { handle, access, size: access.getSize() });
  }
  append(bytes) {
    const wrote = this.access.write(bytes, { at: this.size });
    if (wrote !== bytes.length) throw new DOMException("the disk is full", "QuotaExceededError");
    this.size += wrote;
  }
  restart() {
    this.access.truncate(0);
    this.size = 0;
  }
  // The file, closed.
  async close() {
    this.access.flush();
    this.access.close();
    return this.handle.getFile();
  }
  // What has arrived, for going on in memory.
  async loosen() {
    const file = await this.close();
    return Object.assign(new Loose(), { parts: [await file.arrayBuffer()], size: file.size });
  }
}

// A file that grows in memory.
class Loose {
  parts = [];
  size = 0;
  append(bytes) {
    this.parts.push(bytes);
    this.size += bytes.length;
  }
  restart() {
    [this.parts, this.size] = [[], 0];
  }
  async close() {
    return new Blob(this.parts);
  }
}

// ---- fetching ----

const pause = (millis, signal) =>
  new Promise((resolve, reject) => {
    setTimeout(resolve, millis);
    signal.addEventListener("abort", () => reject(stopped()), { once: true });
  });

const refused = (url, status) => {
  if (status === 404 || status === 410) return new Problem("missing", `${url}: the server has no such file (${status})`);
  if (status === 401 || status === 403) return new Problem("file", `${url}: the server asks for a log-in (${status}), which this page does not have; download the files and drop them here`);
  return new Problem("file", `${url}: the server answered ${status}`);
};

// A response that is the file itself, from byte `from` on.
async function ask(url, from, signal) {
  const headers = from > 0 ? { Range: `bytes=${from}-` } : {};
  let response;
  try {
    response = await fetch(url, { headers, signal, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" });
  } catch (problem) {
    if (signal.aborted) throw stopped();
    throw new Problem("again", `${url}: no answer; the connection is down, the host does not exist, or it forbids other pages to read it (CORS)`);
  }
  if (response.status === 416) return null;
  if (response.status === 429 || response.status >= 500) throw new Problem("again", refused(url, response.status).message);
  if (!response.ok) throw refused(url, response.status);
  if (/^text\/html/i.test(response.headers.get("content-type") ?? "")) {
    throw new Problem("file", `${url}: the server answered with a web page instead of the file; is it the address of the files themselves (on Hugging Face: /resolve/main/)?`);
  }
  return response;
}

// Bytes that are announced; null where the server compresses or does not say.
function announced(response) {
  if (response.headers.get("content-encoding")) return null;
  const length = response.headers.get("content-length");
  return length === null ? null : Number(length);
}

// Where a partial answer begins; null where the browser may not tell.
const beginning = (response) => {
  const range = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "");
  return range ? Number(range[1]) : null;
};

// Brings one file into `sink`, on from what is there. `known` remembers its size and version between tries.
async function bring(url, sink, known, signal, grew) {
  for (let attempt = 1; ; attempt++) {
    const before = sink.size;
    try {
      await pull(url, sink, known, signal, grew);
      return;
    } catch (problem) {
      if (problem.name === "QuotaExceededError") throw problem;
      if (signal.aborted) throw stopped();
      if (problem.code !== "again") throw problem;
      // Progress makes an interruption forgivable.
      if (sink.size > before) attempt = 1;
      if (attempt >= TRIES) throw new Problem("interrupted", `${problem.message}; ${known.size ? `${sink.size} of ${known.size}` : sink.size} bytes are here, and fetching again goes on from there`);
      await pause(PAUSE_MILLIS * 2 ** (attempt - 1), signal);
    }
  }
}

async function pull(url, sink, known, signal, grew) {
  if (known.size !== null && known.size !== undefined && sink.size === known.size && known.size > 0) return;
  let response = await ask(url, sink.size, signal);
  if (sink.size > 0) {
    const begins = response?.status === 206 ? (beginning(response) ?? sink.size) : 0;
    const length = response && announced(response);
    const etag = response?.headers.get("etag");
    const other = known.size && length !== null && begins > 0 && begins + length !== known.size;
    const changed = etag && known.etag && etag !== known.etag;
    if (begins !== sink.size || other || changed) {
      // It does not continue what is here: no ranges on this server, or another version of the file.
      sink.restart();
      if (!response || response.status === 206) {
        await response?.body?.cancel();
        response = await ask(url, 0, signal);
        if (!response) throw new Problem("file", `${url}: the server answered 416`);
      }
    }
  }
  if (sink.size === 0) {
    known.size = announced(response);
    known.etag = response.headers.get("etag");
  }
  grew();
  const reader = response.body.getReader();
  for (;;) {
    let timer;
    const stall = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Problem("again", `${url}: nothing has come for ${STALL_MILLIS / 1000} s`)), STALL_MILLIS);
    });
    let chunk;
    try {
      chunk = await Promise.race([reader.read(), stall]);
    } catch (problem) {
      reader.cancel().catch(() => {});
      if (problem instanceof Problem) throw problem;
      throw new Problem("again", `${url}: the connection broke`);
    } finally {
      clearTimeout(timer);
    }
    if (chunk.done) break;
    sink.append(chunk.value);
    grew();
  }
  if (known.size !== null && sink.size !== known.size) {
    const came = sink.size;
    if (came > known.size) sink.restart();
    throw new Problem("again", `${url}: ${came} bytes came where ${known.size} were announced`);
  }
  known.size = sink.size;
}

// One download under way.
class Download {
  constructor(id, where) {
    this.id = id;
    this.where = where;
    this.abort = new AbortController();
    this.sizes = new Map();
    this.most = 0;
    this.notes = [];
    this.go = new Promise((resolve) => (this.allow = resolve));
  }

  // Bytes so far; an attempt that starts over does not take back what was said.
  report() {
    const all = [...this.sizes.values()];
    this.most = Math.max(this.most, all.reduce((sum, { arrived }) => sum + arrived, 0));
    const known = this.planned && all.every(({ known }) => known.size > 0) ? all.reduce((sum, { known }) => sum + known.size, 0) : null;
    const now = performance.now();
    if (now - (this.said ?? -1e9) < 40 && this.most !== known) return;
    this.said = now;
    say(this.id, { say: "progress", bytes: this.most, total: known });
  }

  async sink(name) {
    if (this.place) {
      try {
        return await Kept.open(this.place, name);
      } catch (problem) {
        this.loosen(problem.name === "NoModificationAllowedError" ? "another tab is fetching it" : "the browser's storage does not open");
      }
    }
    return new Loose();
  }

  loosen(why) {
    if (this.place) this.notes.push(`It is not kept in this browser: ${why}.`);
    this.place = null;
  }

  async file(name, url = new URL(name, this.where.base).href) {
    const known = this.record.files[name] ?? {};
    let sink = await this.sink(name);
    if (sink.size > 0 && !this.record.files[name]) sink.restart();
    const entry = { arrived: sink.size, known };
    this.sizes.set(name, entry);
    const grew = () => {
      entry.arrived = sink.size;
      this.report();
    };
    try {
      for (;;) {
        try {
          await bring(url, sink, known, this.abort.signal, grew);
          break;
        } catch (problem) {
          if (problem.name !== "QuotaExceededError" || sink instanceof Loose) throw problem;
          this.loosen("its storage is full");
          sink = await sink.loosen();
        }
      }
    } catch (problem) {
      // What has arrived stays, with what is known of it.
      const partial = sink.size > 0;
      if (problem.code === "missing") this.sizes.delete(name);
      await sink.close();
      if (this.place) {
        if (partial) this.record.files[name] = known;
        else await this.place.removeEntry(name).catch(() => {});
        await writeRecord(this.place, this.record);
      }
      throw problem;
    }
    const file = await sink.close();
    this.record.files[name] = known;
    if (this.place) await writeRecord(this.place, this.record).catch(() => {});
    return { name, file };
  }

  async maybe(name) {
    try {
      return await this.file(name);
    } catch (problem) {
      if (problem.code === "missing") return null;
      throw problem;
    }
  }

  // Shows the page what the model is before its weights are asked for.
  async sample(files) {
    say(this.id, { say: "sample", name: this.where.name, names: files.map(({ name }) => name) }, files.map(({ file }) => file));
    await Promise.race([this.go, new Promise((_, reject) => this.abort.signal.addEventListener("abort", () => reject(stopped())))]);
  }

  async hub() {
    const config = await this.maybe("config.json");
    if (!config) throw new Problem("file", `${this.where.base} has no config.json; a model needs config.json, tokenizer.json and model.safetensors, so check the name`);
    try {
      JSON.parse(await config.file.text());
    } catch {
      await this.place?.removeEntry("config.json").catch(() => {});
      throw new Problem("file", `${this.where.base}config.json is not JSON; the server may have answered with a page of its own`);
    }
    await this.sample([config]);
    const files = [config];
    const whole = await this.maybe("tokenizer.json");
    if (whole) files.push(whole);
    else {
      const [vocab, merges] = [await this.maybe("vocab.json"), await this.maybe("merges.txt")];
      if (!vocab || !merges) throw new Problem("file", `${this.where.base} has neither tokenizer.json nor vocab.json with merges.txt`);
      files.push(vocab, merges);
    }
    this.planned = true;
    const single = await this.maybe("model.safetensors");
    if (single) return [...files, single];
    const index = await this.maybe("model.safetensors.index.json");
    if (!index) throw new Problem("file", `${this.where.base} has no model.safetensors; weights in other forms (pytorch_model.bin) can carry programs and are not read, so convert them with save_pretrained(safe_serialization=True)`);
    files.push(index);
    const shards = [...new Set(Object.values(JSON.parse(await index.file.text()).weight_map ?? {}))];
    if (shards.some((shard) => !/^[\w.-]+\.safetensors$/.test(shard))) throw new Problem("file", "model.safetensors.index.json names files outside its folder");
    // What is to come of the others counts from the start.
    for (const shard of shards) this.sizes.set(shard, { arrived: 0, known: { size: await this.length(shard) } });
    for (const shard of shards) files.push(await this.file(shard));
    return files;
  }

  async length(name) {
    try {
      const response = await fetch(new URL(name, this.where.base), { method: "HEAD", signal: this.abort.signal, credentials: "omit", referrerPolicy: "no-referrer" });
      return response.ok ? announced(response) : null;
    } catch {
      return null;
    }
  }

  // llama2.c: a file and the tokenizer beside it, which is named by its size or not at all; or where the page knows it is.
  async bin() {
    const { bin, base } = this.where;
    let tokenizer = await this.maybe("tokenizer.bin");
    for (const size of [512, 4096, 32000]) tokenizer ??= await this.maybe(`tok${size}.bin`);
    if (!tokenizer && this.tokenizer) tokenizer = await this.file("tokenizer.bin", this.tokenizer);
    if (!tokenizer) {
      throw new Problem("file", `${base} has no tokenizer.bin beside ${bin}; download both and drop them here together`);
    }
    this.planned = true;
    const model = await this.file(bin);
    await this.sample([{ name: bin, file: model.file.slice(0, 28) }]);
    return [model, tokenizer];
  }

  async run(keep) {
    const { source, name, bin } = this.where;
    const known = (await records()).find(({ record }) => record.source === source && record.hash);
    if (known) return done(this.id, known.record, await keptFiles(known), true, []);
    const root = keep ? await folder() : null;
    if (keep && !root) this.notes.push("It is not kept: this browser offers no storage here, as in a private window.");
    this.place = root && (await root.getDirectoryHandle(await nameOf(source), { create: true }));
    this.record = (this.place && (await readRecord(this.place))) ?? { source, name, files: {} };
    if (this.place) await writeRecord(this.place, this.record).catch(() => this.loosen("the browser's storage does not open"));
    const files = await (bin ? this.bin() : this.hub());
    const { each, whole } = await hashes(files);
    this.record.files = Object.fromEntries(files.map(({ name, file }) => [name, { size: file.size, sha256: each[name] }]));
    this.record.hash = whole;
    this.record.id = idOf(source, whole);
    if (this.place) await writeRecord(this.place, this.record);
    done(this.id, this.record, files, Boolean(this.place), this.notes);
  }
}

// ---- files of the visitor's ----

async function take(id, { names, keep }, blobs) {
  const files = names.map((path, index) => ({ path, name: path.split("/").pop(), file: blobs[index] })).filter(({ name }) => isModelFile(name));
  const twice = files.find(({ name }, index) => files.findIndex((other) => other.name === name) !== index);
  if (twice) throw new Problem("file", `${twice.name} is there twice; give the files of one model`);
  const has = (name) => files.some((file) => file.name === name);
  const bins = files.filter(({ name }) => name.endsWith(".bin") && !isTokenizer(name));
  if (!has("config.json") && bins.length === 0) {
    const seen = names.length === 0 ? "nothing" : names.slice(0, 4).join(", ") + (names.length > 4 ? ", …" : "");
    throw new Problem("file", `that holds no model (${seen}): a Hugging Face folder has config.json, tokenizer.json and model.safetensors, llama2.c a model and a tokenizer as .bin`);
  }
  if (!has("config.json") && bins.length > 1) throw new Problem("file", `${bins.map(({ name }) => name).join(" and ")} are two models; give one with its tokenizer`);
  const inFolder = files[0].path.includes("/") ? files[0].path.split("/").at(-2) : null;
  const name = (has("config.json") ? (inFolder ?? "model") : bins[0].name.replace(/\.bin$/, "")).replaceAll("~", "-");
  const { each, whole } = await hashes(files);
  const source = `local:${name}`;
  const record = { source, name, id: idOf(source, whole), hash: whole, files: Object.fromEntries(files.map(({ name, file }) => [name, { size: file.size, sha256: each[name] }])) };
  const notes = [];
  const kept = keep && whole !== null && (await copy(record, files, notes));
  done(id, record, files, Boolean(kept), notes);
}

async function copy(record, files, notes) {
  const root = await folder();
  if (!root) {
    notes.push("It is not kept: this browser offers no storage here, as in a private window.");
    return false;
  }
  const dir = await nameOf(record.id);
  try {
    const place = await root.getDirectoryHandle(dir, { create: true });
    for (const { name, file } of files) {
      const sink = await Kept.open(place, name);
      sink.restart();
      try {
        for (let at = 0; at < file.size; at += 1 << 24) sink.append(new Uint8Array(await file.slice(at, at + (1 << 24)).arrayBuffer()));
      } finally {
        await sink.close();
      }
    }
    await writeRecord(place, record);
    return true;
  } catch (problem) {
    await root.removeEntry(dir, { recursive: true }).catch(() => {});
    notes.push(problem.name === "QuotaExceededError" ? "It is not kept: the browser's storage is full." : "It is not kept: the browser's storage does not open.");
    return false;
  }
}

// ---- answering ----

const underWay = new Map();

function say(id, what, files = []) {
  postMessage({ id, json: JSON.stringify(what), files });
}

function done(id, record, files, kept, notes) {
  const names = files.map(({ name }) => name);
  const bytes = files.reduce((sum, { file }) => sum + file.size, 0);
  const sha256 = Object.fromEntries(Object.entries(record.files).map(([name, { sha256 }]) => [name, sha256 ?? ""]));
  say(id, { say: "done", model: record.id, name: record.name, source: record.source, bytes, sha256, names, kept, notes }, files.map(({ file }) => file));
}

async function list(id) {
  const models = (await records()).map(({ record }) => ({
    model: record.id ?? null,
    name: record.name,
    source: record.source,
    bytes: Object.values(record.files).reduce((sum, { size }) => sum + (size ?? 0), 0),
    complete: Boolean(record.id),
    busy: [...underWay.values()].some(({ where }) => where.source === record.source),
  }));
  const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.().catch(() => ({}))) ?? {};
  say(id, { say: "stored", models, usage, quota });
}

async function forget(id, { source, model }) {
  const root = await folder();
  for (const { dir, record } of await records()) {
    if (model ? record.id === model : record.source === source) await root.removeEntry(dir, { recursive: true });
  }
  await list(id);
}

async function open(id, { model }) {
  const known = (await records()).find(({ record }) => record.id === model);
  if (known) return done(id, known.record, await keptFiles(known), true, []);
  throw new Problem("absent", `${model} is not in this browser`);
}

const asks = {
  list,
  forget,
  open,
  take,
  async fetch(id, { source, keep, tokenizer }) {
    const where = locate(source);
    if ([...underWay.values()].some((other) => other.where.source === where.source)) throw new Problem("file", `${where.source} is being fetched already`);
    const download = Object.assign(new Download(id, where), { tokenizer });
    underWay.set(id, download);
    try {
      await download.run(keep);
    } finally {
      underWay.delete(id);
    }
  },
  async go(_, { of }) {
    underWay.get(of)?.allow();
  },
  async stop(_, { of }) {
    underWay.get(of)?.abort.abort();
  },
};

addEventListener("message", async ({ data: { id, json, files = [] } }) => {
  const { ask, ...rest } = JSON.parse(json);
  try {
    await asks[ask](id, rest, files);
  } catch (problem) {
    const code = problem.code && typeof problem.code === "string" ? problem.code : "file";
    say(id, { say: "problem", code, message: problem.message });
  }
});
