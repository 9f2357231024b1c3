// One engine for all figures of a page. It runs in a hidden frame; each figure has a message port to it.
//
// The engine keeps one model and the newest run. So commands go to it one after the other, and before a command of one
// figure the model and, where it looks at a run, the run of that figure are put back if another figure's came between.
// Its words are those of src/api/mod.rs.

const SOURCE = "attnscope";
const VERSION = 1;
const host = new URLSearchParams(location.search).get("host");

// Commands that look at what an earlier command of the same figure left in the engine, and that earlier command.
const LOOKS_AT = { head: "run", burst: "begin", written: "begin" };

let worker = null;
let listens = false;
// What the engine holds: the model as it was opened, and the figure whose run or continuation it is.
let held = {};
let lastId = 0;
const queue = [];
const underWay = new Map();
// By port: the newest command of each kind that can be repeated.
const figures = new Map();

function start() {
  worker = new Worker("./worker_loader.js", { type: "module" });
  worker.onmessage = (event) => hear(event.data);
  worker.onerror = (event) => died(event.message);
  worker.onmessageerror = () => died("a message could not be read");
}

function died(why) {
  worker?.terminate();
  [worker, listens, held] = [null, false, {}];
  queue.length = 0;
  underWay.clear();
  const json = JSON.stringify({ reply: "failed", code: "worker", message: `the engine stopped: ${why}` });
  for (const port of figures.keys()) port.postMessage({ id: 0, json, buffers: [] });
  start();
}

function hear(message) {
  if (message.id === 0) {
    const { reply } = JSON.parse(message.json);
    if (reply === "failed") return died(message.json);
    // What computes has changed, or compiles; every figure shows it.
    if (reply === "engine" || reply === "compiling") return figures.forEach((_, port) => port.postMessage({ id: 0, json: message.json, buffers: [] }));
    listens = true;
    return next();
  }
  const asked = underWay.get(message.id);
  if (!asked) return;
  if (message.json.startsWith('{"reply":"progress"')) {
    // Whoever waits for the same model sees it come.
    const waits = (other) => other.kind === "open" && other.json === asked.json;
    for (const each of [asked, ...queue.filter(waits)]) if (each.id !== null) answer(each, message);
    return;
  }
  underWay.delete(message.id);
  const failed = message.json.startsWith('{"reply":"failed"');
  note(asked, message.json, failed);
  if (asked.id !== null) {
    answer(asked, message);
  } else if (failed && queue[0]?.port === asked.port) {
    // It was put back for the sake of this one, which cannot be answered now.
    answer(queue.shift(), message);
  }
  next();
}

function answer(asked, { json, buffers }) {
  asked.port.postMessage({ id: asked.id, json, buffers }, buffers);
}

function refuse(asked, code, message) {
  if (asked.id !== null) answer(asked, { json: JSON.stringify({ reply: "failed", code, message }), buffers: [] });
}

// Notes what the engine holds now.
function note({ port, kind, json }, reply, failed) {
  if (kind === "open") held = failed ? {} : { open: json, reply };
  if (kind === "run" || kind === "begin") held[kind] = failed ? null : port;
}

// Sends what can be sent.
function next() {
  while (listens && queue.length > 0) {
    const asked = queue[0];
    if (!mayGo(asked)) return;
    const before = neededBefore(asked);
    if (before) return send({ ...before, id: null });
    queue.shift();
    if (asked.kind === "open" && held.open === asked.json) {
      // The second figure with the same model opens nothing.
      answer(asked, { json: held.reply, buffers: [] });
    } else {
      send(asked);
    }
  }
}

// One at a time; but a newer run may overtake an older one of the same figure, and probes, which step aside.
function mayGo(asked) {
  const others = [...underWay.values()];
  if (others.length === 0) return true;
  const steps = (other) => other.kind === "roles" || (other.kind === "run" && other.port === asked.port);
  return asked.kind === "run" && held.open === figures.get(asked.port).open?.json && others.every(steps);
}

function neededBefore(asked) {
  const newest = figures.get(asked.port);
  if (["open", "laws", "judge"].includes(asked.kind)) return null;
  if (newest.open && held.open !== newest.open.json) return newest.open;
  const earlier = LOOKS_AT[asked.kind];
  return earlier && held[earlier] !== asked.port ? newest[earlier] : null;
}

function send(asked) {
  const id = ++lastId;
  underWay.set(id, asked);
  worker.postMessage({ id, json: asked.json, buffers: [], files: asked.files });
}

// Drops what a figure asked; what is under way cannot be stopped, but nobody hears of it.
function forget(port) {
  for (const asked of queue.filter((asked) => asked.port === port)) queue.splice(queue.indexOf(asked), 1);
  for (const asked of underWay.values()) if (asked.port === port) asked.id = null;
}

function ask(port, message) {
  if (message.forget) return forget(port);
  const newest = figures.get(port);
  const { command } = JSON.parse(message.json);
  // A model of somebody's own, whose files come beside the message, is opened like a shipped one.
  const kind = command === "open_files" ? "open" : command;
  const asked = { port, id: message.id, json: message.json, files: message.files ?? [], kind };
  if (kind === "run") {
    // The newest run of a figure wins.
    for (const old of queue.filter((old) => old.port === port && old.kind === "run")) {
      queue.splice(queue.indexOf(old), 1);
      refuse(old, "superseded", "superseded by a newer request");
    }
  }
  if (["open", "run", "begin"].includes(kind)) newest[kind] = asked;
  queue.push(asked);
  next();
}

addEventListener("message", (event) => {
  if (event.source !== parent || event.origin !== host) return;
  const { source, version, type, payload } = event.data ?? {};
  if (source !== SOURCE || version !== VERSION || type !== "command") return;
  const [port] = event.ports;
  if (payload?.command === "connect" && port) {
    figures.set(port, {});
    port.addEventListener("close", () => {
      forget(port);
      figures.delete(port);
    });
    port.onmessage = (heard) => ask(port, heard.data);
    port.postMessage({ id: 0, json: '{"reply":"ready"}', buffers: [] });
  }
});

start();
if (host) parent.postMessage({ source: SOURCE, version: VERSION, id: 0, type: "ready", payload: {} }, host);
