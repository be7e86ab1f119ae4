/**
 * PNG out, row by row through the browser's own compressor (PNG, third edition).
 *
 * fast-png's encoder holds a picture four times, filters no rows and writes no colour profile: 48 megapixels
 * need all three otherwise.
 */

import { InvalidInput } from "../loop/errors.js";

export interface PngSource {
  width: number;
  height: number;
  channels: 1 | 2 | 3 | 4; // grey, grey and alpha, RGB, RGBA
  profile: Uint8Array | null; // ICC
  row(y: number): Uint8Array; // [width,channels]
}

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const COLOUR_TYPES = { 1: 0, 2: 4, 3: 2, 4: 6 } as const;
const PAETH = 4;

/** Size of a PNG; null for other files. Throws InvalidInput for more than 8 bits per channel and animations. */
export function readPngHeader(bytes: Uint8Array, what: string): { width: number; height: number } | null {
  if (bytes.length < 33 || SIGNATURE.some((byte, i) => bytes[i] !== byte)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes[24]! > 8) {
    throw new InvalidInput(`${what} has ${bytes[24]} bits per channel; save it with 8 bits.`);
  }
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IDAT") break;
    if (kind === "acTL") throw new InvalidInput(`${what} is animated; save the picture to use as a still image.`);
  }
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/** A PNG file of the picture. */
export async function encodePng(source: PngSource): Promise<Blob> {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, source.width);
  view.setUint32(4, source.height);
  header[8] = 8;
  header[9] = COLOUR_TYPES[source.channels];
  const parts: BlobPart[] = [SIGNATURE, ...chunk("IHDR", header)];
  if (source.profile) parts.push(...chunk("iCCP", await profileChunk(source.profile)));
  await compress(filteredRows(source), (data) => parts.push(...chunk("IDAT", data)));
  parts.push(...chunk("IEND", new Uint8Array()));
  return new Blob(parts, { type: "image/png" });
}

/** Rows behind their filter byte, about a megabyte at a time. */
function* filteredRows(source: PngSource): Generator<Uint8Array<ArrayBuffer>> {
  const stride = source.width * source.channels;
  const rowsPerBlock = Math.max(Math.floor(2 ** 20 / (stride + 1)), 1);
  let above: Uint8Array = new Uint8Array(stride);
  for (let top = 0; top < source.height; top += rowsPerBlock) {
    const count = Math.min(rowsPerBlock, source.height - top);
    const block = new Uint8Array(count * (stride + 1));
    for (let i = 0; i < count; i++) {
      const row = source.row(top + i);
      const target = block.subarray(i * (stride + 1), (i + 1) * (stride + 1));
      filterRow(row, above, source.channels, target);
      above = row.slice(); // a source may use its row again
    }
    yield block;
  }
}

/** The Paeth filter: what of a row its left, upper and upper left neighbours do not foretell. */
function filterRow(row: Uint8Array, above: Uint8Array, channels: number, target: Uint8Array): void {
  target[0] = PAETH;
  for (let i = 0; i < row.length; i++) {
    const left = i < channels ? 0 : row[i - channels]!;
    const up = above[i]!;
    const corner = i < channels ? 0 : above[i - channels]!;
    const toLeft = Math.abs(up - corner);
    const toUp = Math.abs(left - corner);
    const toCorner = Math.abs(left + up - 2 * corner);
    const nearest = toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
    target[i + 1] = row[i]! - nearest;
  }
}

async function profileChunk(profile: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const parts: BlobPart[] = [new TextEncoder().encode("ICC profile\0"), Uint8Array.of(0)];
  await compress([profile.slice()], (data) => parts.push(data));
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** zlib, in whatever pieces the browser gives. */
async function compress(
  blocks: Iterable<Uint8Array<ArrayBuffer>>,
  onData: (data: Uint8Array<ArrayBuffer>) => void,
): Promise<void> {
  const stream = new CompressionStream("deflate");
  const reader = stream.readable.getReader();
  const reading = (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onData(value as Uint8Array<ArrayBuffer>);
    }
  })();
  const writer = stream.writable.getWriter();
  for (const block of blocks) await writer.write(block);
  await writer.close();
  await reading;
}

function chunk(kind: string, data: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const head = new Uint8Array(8);
  new DataView(head.buffer).setUint32(0, data.length);
  head.set(new TextEncoder().encode(kind), 4);
  const tail = new Uint8Array(4);
  new DataView(tail.buffer).setUint32(0, crc32(data, crc32(head.subarray(4))));
  return [head, data, tail];
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array, before = 0): number {
  let value = ~before;
  for (let i = 0; i < bytes.length; i++) value = CRC_TABLE[(value ^ bytes[i]!) & 0xff]! ^ (value >>> 8);
  return ~value >>> 0;
}
