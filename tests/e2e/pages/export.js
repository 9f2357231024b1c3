// The export sheet as a test sees it: takes wares, and reads them back.
import { readFileSync } from "node:fs";
import { inflateRawSync } from "node:zlib";
import { expect } from "@playwright/test";

export class Export {
  constructor(page) {
    this.page = page;
    this.said = page.getByTestId("export-said");
  }

  async open() {
    await this.page.getByTestId("export").click();
  }

  // A saved ware's name and bytes.
  async file(ware) {
    const [download] = await Promise.all([this.page.waitForEvent("download"), this.page.getByTestId(`export-${ware}`).click()]);
    const path = await download.path();
    return { name: download.suggestedFilename(), path, bytes: readFileSync(path) };
  }

  async copied(ware) {
    await this.page.getByTestId(`export-${ware}`).click();
    await expect(this.said).toHaveText("Copied.");
    return this.page.evaluate(() => navigator.clipboard.readText());
  }
}

// Rows of a CSV file, as records; the first line says what computed them.
export function csv(whole) {
  const [first, ...lines] = whole.split("\r\n");
  const record = JSON.parse(first.slice(2));
  expect(record.model_sha256).toMatch(/^[0-9a-f]{64}$/);
  expect(Object.keys(record.mechanisms).length).toBeGreaterThan(0);
  const text = lines.join("\r\n");
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== ",") rows.push([]);
  }
  const [head, ...body] = rows.slice(0, -1);
  return body.map((row) => Object.fromEntries(head.map((name, index) => [name, row[index]])));
}

// Arrays of an npz file by name: its central directory, then numpy's header of each.
export function npz(bytes) {
  const end = bytes.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  const arrays = {};
  for (let at = bytes.readUInt32LE(end + 16), left = bytes.readUInt16LE(end + 10); left > 0; left--) {
    const [method, size] = [bytes.readUInt16LE(at + 10), bytes.readUInt32LE(at + 20)];
    const [name, extra, comment] = [28, 30, 32].map((offset) => bytes.readUInt16LE(at + offset));
    const local = bytes.readUInt32LE(at + 42);
    const data = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const raw = bytes.subarray(data, data + size);
    const npy = method === 8 ? inflateRawSync(raw) : raw;
    const header = npy.subarray(10, 10 + npy.readUInt16LE(8)).toString("latin1");
    expect(npy.subarray(1, 6).toString("latin1")).toBe("NUMPY");
    expect(header).toContain("'<f4'");
    const shape = /\(([^)]*)\)/.exec(header)[1].split(",").map((part) => part.trim()).filter(Boolean).map(Number);
    const body = npy.subarray(10 + npy.readUInt16LE(8));
    const values = Array.from({ length: body.length / 4 }, (_, index) => body.readFloatLE(4 * index));
    arrays[bytes.subarray(at + 46, at + 46 + name).toString().replace(/\.npy$/, "")] = { shape, values };
    at += 46 + name + extra + comment;
  }
  return arrays;
}
