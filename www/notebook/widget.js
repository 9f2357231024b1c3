// attnscope in a notebook, as an anywidget module: Jupyter, Colab, VS Code, marimo.
//
// Two modes. With `patterns` (bytes of f32, [layers, heads, queries, keys] in `shape`) it draws what Python computed and
// loads nothing. Without, it shows the figure of `link` from `base`, where a copy of attnscope is served, and the model
// runs in the reader's browser. `layer`, `head` and `link` are kept in step with Python both ways.

// Ends of the weight ramp and what lies on no ramp, as in style/tokens.css.
const RAMP = ["#f3fbfa", "#b5ecea", "#67d3de", "#1fb6d0", "#0297bc", "#0378a4", "#035a8b", "#1b3e64", "#1e2736"];
const MASKED = "#e6e6e6";
const EDGE = 48;

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const STOPS = RAMP.map(rgb);

function colour(value) {
  if (Number.isNaN(value)) return rgb(MASKED);
  const along = Math.min(1, Math.max(0, value)) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(along));
  return STOPS[low].map((part, at) => Math.round(part + (along - low) * (STOPS[low + 1][at] - part)));
}

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

// One canvas pixel per cell; the browser enlarges it without smoothing.
function draw(canvas, rows, columns, value) {
  Object.assign(canvas, { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      image.data.set([...colour(value(row, column)), 255], 4 * (row * columns + column));
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.style.imageRendering = "pixelated";
}

// What Python sent, checked at the door.
function read(model) {
  const bytes = model.get("patterns");
  const shape = model.get("shape");
  const [layers, heads, queries, keys] = shape;
  const wanted = 4 * shape.reduce((product, size) => product * size, 1);
  if (shape.length !== 4 || bytes.byteLength !== wanted) {
    throw new Error(`patterns: ${bytes.byteLength} bytes came for shape [${shape}]; expected f32 [layers, heads, queries, keys], ${wanted} bytes`);
  }
  // A view may start at any byte; floats may not.
  const data = new Float32Array(bytes.buffer ? bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) : bytes);
  const at = (layer, head) => (query, key) => (key > query && queries === keys ? NaN : data[((layer * heads + head) * queries + query) * keys + key]);
  return { layers, heads, queries, keys, at, tokens: model.get("tokens") };
}

function view(model, el) {
  const { layers, heads, queries, keys, at, tokens } = read(model);
  const label = (position) => `${tokens[position] ?? ""} (${position})`;
  const wall = make("div", { role: "group", ariaLabel: "Heads" });
  Object.assign(wall.style, { display: "grid", gridTemplateColumns: `repeat(${heads}, ${EDGE}px)`, gap: "4px", alignContent: "start" });
  const map = make("canvas", { ariaHidden: "true" });
  Object.assign(map.style, { width: "min(100%, 420px)", aspectRatio: `${keys} / ${queries}`, cursor: "crosshair" });
  const name = make("strong");
  const reading = make("span", { role: "status" });
  const scale = make("small", { textContent: "Rows are queries, columns keys; weight 0 to 1, linear; grey is masked." });
  const figure = make("figure", {}, make("figcaption", {}, name, " ", reading), map, make("br"), scale);
  figure.style.margin = "0";
  const frame = make("div", {}, wall, figure);
  Object.assign(frame.style, { display: "flex", flexWrap: "wrap", gap: "16px", font: "13px system-ui, sans-serif" });
  el.append(frame);

  const buttons = [];
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < heads; head++) {
      const tile = make("canvas", { ariaHidden: "true" });
      Object.assign(tile.style, { width: `${EDGE - 4}px`, height: `${EDGE - 4}px` });
      draw(tile, queries, keys, at(layer, head));
      const button = make("button", { type: "button", title: `L${layer}H${head}`, ariaLabel: `L${layer}H${head}` }, tile);
      Object.assign(button.style, { padding: "1px", border: "1px solid transparent", background: "none", cursor: "pointer" });
      button.addEventListener("click", () => {
        model.set("layer", layer);
        model.set("head", head);
        model.save_changes();
        show();
      });
      buttons.push(button);
      wall.append(button);
    }
  }

  const say = (query, key) => {
    const value = at(model.get("layer"), model.get("head"))(query, key);
    reading.textContent = `query ${label(query)}, key ${label(key)}: ${Number.isNaN(value) ? "masked" : value.toPrecision(4)}`;
    Object.assign(figure.dataset, { query, key, value });
  };
  const show = () => {
    const layer = Math.min(layers - 1, Math.max(0, model.get("layer")));
    const head = Math.min(heads - 1, Math.max(0, model.get("head")));
    const value = at(layer, head);
    draw(map, queries, keys, value);
    name.textContent = `L${layer}H${head}`;
    buttons.forEach((button, index) => {
      const chosen = index === layer * heads + head;
      button.ariaPressed = String(chosen);
      button.style.borderColor = chosen ? "currentColor" : "transparent";
    });
    // The strongest key of the last query, until the pointer says otherwise.
    const last = queries - 1;
    const row = Array.from({ length: keys }, (_, key) => value(last, key) || 0);
    say(last, row.indexOf(Math.max(...row)));
  };
  map.addEventListener("pointermove", ({ offsetX, offsetY }) => {
    const place = (offset, size, count) => Math.min(count - 1, Math.max(0, Math.floor((offset / size) * count)));
    say(place(offsetY, map.clientHeight, queries), place(offsetX, map.clientWidth, keys));
  });
  for (const trait of ["layer", "head"]) model.on(`change:${trait}`, show);
  show();
  return () => {
    for (const trait of ["layer", "head"]) model.off(`change:${trait}`, show);
    frame.remove();
  };
}

async function live(model, el) {
  const base = model.get("base");
  if (!base) throw new Error("base is empty; give the address of the folder where attnscope is served");
  await import(new URL("attn-scope.js", base).href);
  const figure = document.createElement("attn-scope");
  for (const name of ["hide", "theme"]) if (model.get(name)) figure.setAttribute(name, model.get(name));
  figure.link = model.get("link");
  const tell = ({ detail }) => {
    if (detail.link === model.get("link")) return;
    model.set("link", detail.link);
    model.save_changes();
  };
  const hear = () => {
    if (model.get("link") !== figure.link) figure.link = model.get("link");
  };
  const count = async () => {
    model.set("numbers", await figure.numbers());
    model.save_changes();
  };
  figure.addEventListener("change", tell);
  figure.addEventListener("ready", count);
  model.on("change:link", hear);
  el.append(figure);
  return () => {
    model.off("change:link", hear);
    figure.remove();
  };
}

export async function render({ model, el }) {
  try {
    return model.get("patterns")?.byteLength ? view(model, el) : await live(model, el);
  } catch (problem) {
    el.append(make("p", { role: "alert", textContent: `attnscope: ${problem.message}` }));
    return () => {};
  }
}

export default { render };
