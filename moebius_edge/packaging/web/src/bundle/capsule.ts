/** The self-test capsule: a safetensors file with the reference's inputs and outputs, docs/bundle.md. */

import { PackageError } from "./manifest.js";

type Values = Float32Array | Uint8Array | Int32Array;

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const MAX_HEADER_BYTES = 4 << 20;
const BYTES = { F32: 4, U8: 1, I32: 4 }; // of an element

export class Capsule {
  private readonly header: Record<string, Entry>;
  private readonly start: number;

  /** @throws PackageError for bytes that are no safetensors file */
  constructor(private readonly bytes: Uint8Array<ArrayBuffer>) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = bytes.length < 8 ? 0 : Number(view.getBigUint64(0, true));
    if (length < 2 || length > Math.min(MAX_HEADER_BYTES, bytes.length - 8)) {
      throw new PackageError("The self-test capsule is damaged: it has no header. Export the bundle again.");
    }
    this.start = 8 + length;
    try {
      this.header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, this.start))) as Record<string, Entry>;
    } catch {
      throw new PackageError("The self-test capsule is damaged: its header is no JSON. Export the bundle again.");
    }
  }

  /** float32 tensor, flat. */
  floats(name: string): Float32Array {
    return this.values(name, "F32", Float32Array);
  }

  /** uint8 tensor, flat. */
  bytesOf(name: string): Uint8Array {
    return this.values(name, "U8", Uint8Array);
  }

  /** int32 tensor, flat. */
  integers(name: string): Int32Array {
    return this.values(name, "I32", Int32Array);
  }

  private values<T extends Values>(name: string, dtype: keyof typeof BYTES, kind: new (buffer: ArrayBuffer) => T): T {
    const entry = this.header[name];
    if (entry?.dtype !== dtype) {
      throw new PackageError(
        `The self-test capsule's ${name} is ${entry?.dtype ?? "missing"}; expected ${dtype}. Export the bundle again.`,
      );
    }
    const [from, until] = entry.data_offsets;
    const size = entry.shape.reduce((product, length) => product * length, BYTES[dtype]);
    if (!(from >= 0 && until - from === size && this.start + until <= this.bytes.length)) {
      throw new PackageError(`The self-test capsule's ${name} is not where it should be. Export the bundle again.`);
    }
    // A copy: tensors need not be aligned in the file.
    const values = new kind(this.bytes.slice(this.start + from, this.start + until).buffer);
    if (!values.every(Number.isFinite)) {
      throw new PackageError(`The self-test capsule's ${name} has NaN or Inf. Export the bundle again.`);
    }
    return values;
  }
}
