// <attn-scope>: a figure in any page.
//
//   <script type="module" src="https://…/attn-scope.js"></script>
//   <attn-scope m="stories-3m" p="One day, a girl" a="softmax" b="alibi" pin="L1H5" hide="tabs profiles">
//     <img src="figure.png" alt="Stands here until the figure is there.">
//   </attn-scope>
//
// Attributes are the parameters of a link (`m p bos seed a b c d pin q k show scale …`), and:
//   hide    parts that are not shown: prompt text tokens write panes bar matrices a b difference sentence profiles wall tabs
//   theme   auto, light or dark             eager   computes at once, in view or not
//   engine  cpu or gpu; else the best       height  until the figure says how high it is
//   base    the folder of attnscope, where this file is a copy elsewhere
// Properties: link, experiment (as data), state. Methods: ask(command), numbers(), matrix(column).
// Events: ready, progress, change, pin, error; `detail` is the state, of an error { code, message }.
// Style: --attn-scope-border, --attn-scope-radius, --attn-scope-height; ::part(frame).
// The words of the messages are in protocol/, as JSON schema and TypeScript.

const SOURCE = "attnscope";
const VERSION = 1;
const HERE = new URL("./", import.meta.url).href;

// Attributes that are no parameters of a link.
const OURS = ["hide", "theme", "eager", "engine", "height", "base"];
const PLAIN = /^(id|class|style|slot|title|lang|dir|hidden|role|part|tabindex|inert|is|translate|(data|aria)-.*|on.*)$/;

const STYLE = `
  :host { display: block; min-height: var(--attn-scope-height, 320px); }
  :host([hidden]) { display: none; }
  iframe { display: block; width: 100%; border: var(--attn-scope-border, 1px solid #8884);
           border-radius: var(--attn-scope-radius, 6px); box-sizing: content-box; }
  iframe.waits { position: absolute; visibility: hidden; }
  div { position: relative; }`;
const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

// By folder: the hidden frame with the engine, and who uses it.
const engines = new Map();

function message(type, payload, id = 0) {
  return { source: SOURCE, version: VERSION, id, type, payload };
}

function isFrom(frame, base, { source, origin, data }) {
  return source === frame?.contentWindow && origin === new URL(base).origin && data?.source === SOURCE;
}

function engineOf(base, figure) {
  let engine = engines.get(base);
  if (!engine) {
    const frame = document.createElement("iframe");
    frame.src = `${base}engine.html?host=${encodeURIComponent(location.origin)}`;
    frame.title = "attnscope: the engine of the figures";
    frame.hidden = true;
    engine = { frame, users: new Set() };
    engine.ready = new Promise((resolve) => {
      engine.listen = (event) => {
        if (isFrom(frame, base, event) && event.data.type === "ready") resolve(frame.contentWindow);
      };
      addEventListener("message", engine.listen);
    });
    document.body.append(frame);
    engines.set(base, engine);
  }
  engine.users.add(figure);
  return engine.ready;
}

function leaveEngine(base, figure) {
  const engine = engines.get(base);
  engine?.users.delete(figure);
  if (engine?.users.size === 0) {
    removeEventListener("message", engine.listen);
    engine.frame.remove();
    engines.delete(base);
  }
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) entry.target.start();
  },
  { rootMargin: "300px" },
);

export class AttnScope extends HTMLElement {
  #box = document.createElement("div");
  #fallback = document.createElement("slot");
  #frame = null;
  #base = HERE;
  #state = null;
  #wanted = null;
  #ready = false;
  #lastId = 0;
  #waiting = new Map();
  #hear = (event) => this.#heard(event);
  #changes = new MutationObserver((records) => this.#attributes(records.map((record) => record.attributeName)));

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    this.#box.append(this.#fallback);
    root.append(this.#box);
  }

  connectedCallback() {
    this.#changes.observe(this, { attributes: true });
    if (this.hasAttribute("eager")) this.start();
    else seen.observe(this);
  }

  disconnectedCallback() {
    seen.unobserve(this);
    this.#changes.disconnect();
    removeEventListener("message", this.#hear);
    for (const [, refuse] of this.#waiting.values()) refuse(new Error("the figure was taken out of the page"));
    this.#waiting.clear();
    this.#frame?.remove();
    leaveEngine(this.#base, this);
    [this.#frame, this.#state, this.#ready] = [null, null, false];
    this.#fallback.hidden = false;
  }

  // Loads the figure now.
  start() {
    seen.unobserve(this);
    if (this.#frame || !this.isConnected) return;
    this.#base = new URL(this.getAttribute("base") ?? HERE, document.baseURI).href;
    addEventListener("message", this.#hear);
    const query = new URLSearchParams({ host: location.origin });
    // An engine of its own where one is forced; else the one all figures share.
    query.set("engine", this.getAttribute("engine") ?? "shared");
    for (const name of ["hide", "theme"]) if (this.hasAttribute(name)) query.set(name, this.getAttribute(name));
    const frame = document.createElement("iframe");
    frame.src = `${this.#base}embed.html?${query}#${this.#wanted?.link ?? this.#parameters()}`;
    frame.title = this.title || "attnscope: attention of a small transformer";
    frame.setAttribute("part", "frame");
    frame.setAttribute("allow", "clipboard-write");
    // What the page offers in place of the figure stays until the figure is there.
    if (this.childElementCount > 0) frame.className = "waits";
    frame.height = this.getAttribute("height") ?? 320;
    this.#frame = frame;
    this.#box.append(frame);
  }

  get state() {
    return this.#state;
  }

  get link() {
    return this.#state?.link ?? this.#wanted?.link ?? this.#parameters();
  }

  set link(link) {
    this.#wish({ link: String(link) });
  }

  get experiment() {
    return this.#state?.experiment ?? null;
  }

  set experiment(experiment) {
    this.#wish({ experiment });
  }

  numbers() {
    return this.ask({ command: "numbers" });
  }

  matrix(column = "a") {
    return this.ask({ command: "matrix", column });
  }

  ask(command) {
    return this.#send("command", command, true);
  }

  #parameters() {
    const pairs = [["v", "1"]];
    for (const { name, value } of this.attributes) {
      if (name !== "v" && !OURS.includes(name) && !PLAIN.test(name)) pairs.push([name, value]);
    }
    return pairs.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
  }

  #attributes(names) {
    if (!this.#frame) return;
    const wish = {};
    if (names.includes("hide")) wish.hide = (this.getAttribute("hide") ?? "").split(/[\s,]+/).filter(Boolean);
    if (names.includes("theme")) wish.theme = this.getAttribute("theme") ?? "auto";
    if (names.includes("title")) this.#frame.title = this.title;
    if (names.some((name) => !OURS.includes(name) && !PLAIN.test(name))) wish.link = this.#parameters();
    if (Object.keys(wish).length > 0) this.#wish(wish);
  }

  #wish(wish) {
    // Until the figure listens, wishes add up.
    if (!this.#state) this.#wanted = { ...this.#wanted, ...wish };
    else this.#send("state", wish, true).catch((problem) => this.#tell("error", problem));
  }

  #send(type, payload, answered, ports = []) {
    if (!this.#frame) return Promise.reject(new Error("call start() first"));
    const id = answered ? ++this.#lastId : 0;
    this.#frame.contentWindow.postMessage(message(type, payload, id), new URL(this.#base).origin, ports);
    if (!answered) return null;
    return new Promise((resolve, reject) => this.#waiting.set(id, [resolve, reject]));
  }

  #heard(event) {
    if (!isFrom(this.#frame, this.#base, event)) return;
    const { version, id, type, payload } = event.data;
    if (version !== VERSION) return this.#tell("error", { code: "version", message: `the figure speaks version ${version}` });
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (type === "ready") this.#listens();
    else if (type === "resize") this.#frame.height = payload.height;
    else if (type === "state") this.#becomes(payload);
    else if (type === "result") waiting?.[0](payload);
    else if (type !== "error") return;
    else if (waiting) waiting[1](Object.assign(new Error(payload.message), payload));
    else this.#tell("error", payload);
  }

  async #listens() {
    const wanted = this.#wanted;
    this.#wanted = null;
    if (wanted) this.#send("state", wanted, true).catch((problem) => this.#tell("error", problem));
    if (this.hasAttribute("engine")) return;
    const { port1, port2 } = new MessageChannel();
    const engine = await engineOf(this.#base, this);
    if (!this.#frame) return;
    engine.postMessage(message("command", { command: "connect" }), new URL(this.#base).origin, [port1]);
    this.#send("command", { command: "engine" }, false, [port2]);
  }

  // What is new decides which events it makes.
  #becomes(state) {
    const before = this.#state;
    this.#state = state;
    if (state.stage === "loading") this.#tell("progress", state);
    const ready = state.fresh && state.stage === "ready";
    if (ready || state.stage === "failed") {
      this.#fallback.hidden = true;
      this.#frame.className = "";
    }
    if (ready && !this.#ready) {
      this.#ready = true;
      this.#tell("ready", state);
    }
    if (!before || before.link === state.link) return;
    this.#tell("change", state);
    const pin = ({ pin, query, key }) => JSON.stringify([pin, query, key]);
    if (pin(before.experiment.view) !== pin(state.experiment.view)) this.#tell("pin", state);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}

if (!customElements.get("attn-scope")) customElements.define("attn-scope", AttnScope);
