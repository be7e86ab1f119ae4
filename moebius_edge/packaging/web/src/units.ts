/** What can compute in this browser. */

export type Unit = "webgpu" | "wasm";

const MAX_THREADS = 8; // more gain nothing on these graphs and cost memory each

/** Threads of the WASM engine. Without cross-origin isolation there is no shared memory, and so only one. */
export function threadCount(): number {
  return self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MAX_THREADS) : 1;
}

/** The best unit that this browser says it has. A WebGPU that the processor imitates is slower than WebAssembly. */
export async function bestUnit(): Promise<Unit> {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return adapter && !adapter.info.isFallbackAdapter ? "webgpu" : "wasm";
  } catch {
    return "wasm";
  }
}
