// Starts the page. It stands in a file of its own because the content policy allows no inline script.
import init from "./app.js";
import "./files.js";

await init({ module_or_path: "./app_bg.wasm" });
