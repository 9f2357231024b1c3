// Counts what a program asks of WebGPU, on the page and in a worker. Import it before the program.

export const counts = {};

const count = (type, method) => {
  const original = type?.prototype?.[method];
  if (!original) return;
  type.prototype[method] = function (...given) {
    counts[method] = (counts[method] ?? 0) + 1;
    return original.apply(this, given);
  };
};

count(globalThis.GPUComputePassEncoder, 'dispatchWorkgroups');
count(globalThis.GPUComputePassEncoder, 'dispatchWorkgroupsIndirect');
count(globalThis.GPUCommandEncoder, 'beginComputePass');
count(globalThis.GPUQueue, 'submit');
count(globalThis.GPUQueue, 'writeBuffer');
count(globalThis.GPUDevice, 'createBindGroup');
count(globalThis.GPUDevice, 'createBuffer');
count(globalThis.GPUBuffer, 'mapAsync');

// A worker is asked for its counts on a channel of their own, since its messages belong to its program.
if (typeof document === 'undefined') {
  const channel = new BroadcastChannel('counts');
  channel.onmessage = ({ data }) => data === 'counts?' && channel.postMessage({ ...counts });
}
