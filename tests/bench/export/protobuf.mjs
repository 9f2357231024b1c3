// The little of protobuf that an ONNX file needs: a message is a list of [field, value].

/** Bytes of a message. A number or bigint is a varint, a { float } four bytes, text, bytes and lists are length-delimited. */
export function message(fields) {
  const parts = [];
  for (const [field, value] of fields) {
    if (typeof value === 'number' || typeof value === 'bigint') parts.push(varint(field * 8), varint(value));
    else if (typeof value === 'object' && 'float' in value) {
      const four = Buffer.alloc(4);
      four.writeFloatLE(value.float);
      parts.push(varint(field * 8 + 5), four);
    } else {
      const bytes = typeof value === 'string' ? Buffer.from(value) : Array.isArray(value) ? message(value) : value;
      parts.push(varint(field * 8 + 2), varint(bytes.length), bytes);
    }
  }
  return Buffer.concat(parts);
}

function varint(value) {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes = [];
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest ? low | 128 : low);
  } while (rest);
  return Buffer.from(bytes);
}
