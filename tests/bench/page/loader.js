// The engine worker with its calls of WebGPU counted.
import './count.js';
import init from '/dist/worker.js';
await init();
