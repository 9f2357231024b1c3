// Runs attnscope and its peers on one model in turns; `web.mjs` calls `measure` and prints what comes back.

import './count.js';
import { Attnscope } from './attnscope.js';
import { OnnxRuntime } from './onnxruntime.js';
import { inTurns } from './turns.js';
import { LlamaCpp } from './wllama.js';

const PROGRAMS = {
  'attnscope cpu': () => new Attnscope('cpu'),
  'onnxruntime-web wasm': () => new OnnxRuntime('wasm'),
  'wllama cpu': () => new LlamaCpp(),
  'attnscope gpu': () => new Attnscope('gpu'),
  'onnxruntime-web webgpu': () => new OnnxRuntime('webgpu'),
};

window.measure = ({ programs, ...given }) => inTurns(programs.map((name) => PROGRAMS[name]()), given, window.processorMillis);
