// Weights as the peers' files are made from: plain f32 arrays by their names in the safetensors file.

/** Reads a safetensors file; f16 and f32 tensors become f32. → Map of name to { shape, data } */
export function read(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const weights = new Map();
  for (const [name, tensor] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = tensor.data_offsets.map((offset) => offset + 8 + length);
    // Copied, since a view must begin at a multiple of its element's size; Node's own slice would not copy.
    const raw = Uint8Array.prototype.slice.call(bytes, begin, end).buffer;
    const read = { F32: () => new Float32Array(raw), F16: () => Float32Array.from(new Uint16Array(raw), half) }[tensor.dtype];
    if (!read) throw new Error(`${name} is ${tensor.dtype}; only F32 and F16 are read`);
    weights.set(name, { shape: tensor.shape, data: read() });
  }
  return weights;
}

/** Writes weights as an f32 safetensors file. */
export function write(weights) {
  const header = {};
  let offset = 0;
  for (const [name, { shape, data }] of weights) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const head = Buffer.alloc(8 + text.length);
  head.writeBigUInt64LE(BigInt(text.length), 0);
  head.write(text, 8, 'latin1');
  return Buffer.concat([head, ...[...weights.values()].map(({ data }) => Buffer.from(data.buffer))]);
}

/** A matrix [rows, columns] → its transpose. */
export function transpose({ shape: [rows, columns], data }) {
  const turned = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) turned[column * rows + row] = data[row * columns + column];
  }
  return { shape: [columns, rows], data: turned };
}

/** The number that 16 bits of half precision stand for. */
function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
