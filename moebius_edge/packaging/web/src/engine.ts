/** onnxruntime-web behind two methods. One graph is loaded at a time, so that the largest decides the memory. */

import type * as Ort from "onnxruntime-web";
import asyncifyModule from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import asyncifyBinary from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import wasmModule from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmBinary from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { filesOf, type Manifest } from "./bundle/manifest.js";
import { type Bytes, ConnectionLost } from "./bundle/store.js";
import type { Graph, Tensors } from "./loop/loop.js";
import { threadCount, type Unit } from "./units.js";

export type ReadFile = (name: string) => Promise<Bytes>;

/** The engine cannot run here; another unit may. */
export class EngineError extends Error {
  override name = "EngineError";
}

export class Engine {
  private loaded: { graph: Graph; session: Ort.InferenceSession } | null = null;

  private constructor(
    private readonly ort: typeof Ort,
    private readonly manifest: Manifest,
    private readonly read: ReadFile,
    readonly unit: Unit,
  ) {}

  /** Load onnxruntime-web for a unit; its WASM files come from this page's own host. */
  static async open(manifest: Manifest, read: ReadFile, unit: Unit): Promise<Engine> {
    const ort: typeof Ort = unit === "webgpu" ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
    const [module, binary] = unit === "webgpu" ? [asyncifyModule, asyncifyBinary] : [wasmModule, wasmBinary];
    ort.env.wasm.wasmPaths = { mjs: absolute(module), wasm: absolute(binary) };
    ort.env.wasm.wasmBinary = await fetchBinary(absolute(binary));
    ort.env.wasm.numThreads = threadCount();
    ort.env.logLevel = "error";
    return new Engine(ort, manifest, read, unit);
  }

  get version(): string {
    return this.ort.env.versions.web ?? "";
  }

  /** Run one graph: flat arrays by the names of docs/graphs.md. */
  async run(graph: Graph, inputs: Tensors): Promise<Tensors> {
    const session = await this.load(graph);
    const feeds: Record<string, Ort.Tensor> = {};
    for (const { name, shape } of this.manifest.graphs[graph].inputs) {
      feeds[name] = new this.ort.Tensor("float32", inputs[name]!, shape);
    }
    const outputs = await session.run(feeds);
    const result: Tensors = {};
    for (const [name, tensor] of Object.entries(outputs)) {
      result[name] = (await tensor.getData()) as Float32Array;
      tensor.dispose();
    }
    return result;
  }

  /** Open a graph if it is not the one that is open. Throws EngineError when the engine refuses it. */
  async load(graph: Graph): Promise<Ort.InferenceSession> {
    if (this.loaded?.graph === graph) return this.loaded.session;
    await this.release();
    const [file, ...weights] = filesOf(this.manifest, graph);
    const model = await this.read(file!);
    const externalData: { path: string; data: Uint8Array }[] = [];
    for (const path of weights) externalData.push({ path, data: await this.read(path) });
    try {
      const session = await this.ort.InferenceSession.create(model, {
        executionProviders: [this.unit],
        externalData,
        graphOptimizationLevel: "all",
      });
      this.loaded = { graph, session };
      return session;
    } catch (error) {
      throw new EngineError(`The ${graph} cannot be opened by ${this.unit}: ${String(error).slice(0, 300)}`);
    }
  }

  /** Free the graph that is open. */
  async release(): Promise<void> {
    const { loaded } = this;
    this.loaded = null;
    await loaded?.session.release();
  }
}

/** Fetched here and now, not by the first graph: so the service worker keeps it for visits without a network. */
async function fetchBinary(url: string): Promise<ArrayBuffer> {
  try {
    const response = await fetch(url);
    if (response.ok) return await response.arrayBuffer();
  } catch {
    // Said below.
  }
  throw new ConnectionLost("The engine cannot be loaded from the host. Check the connection and try again.");
}

function absolute(url: string): string {
  return new URL(url, self.location.href).href;
}
