import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { defaultClientConditions, defineConfig, type Plugin } from "vite";

// What a page must be answered with to have shared memory, and so threads in WebAssembly.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

// Some hosts do not know .mjs, and browsers run no script of another type.
const assetFileNames = ({ names }: { names: string[] }): string =>
  `assets/[name]-[hash]${names[0]?.endsWith(".mjs") ? ".js" : "[extname]"}`;

const SHIPPED = ["comlink", "fast-png", "fflate", "iobuffer", "onnxruntime-common", "onnxruntime-web"];
const NOT_IN_PACKAGE = "third-party/onnxruntime-LICENSE"; // its npm packages come without the text

/** The licences of this page, the model and the libraries in the build, as one text. */
function licences(): string {
  const own = ["LICENSE", "LICENSE-model"].filter((name) => existsSync(name));
  const texts = own.map((name) => `${name}\n\n${readFileSync(name, "utf8")}`);
  for (const name of SHIPPED) {
    const folder = `node_modules/${name}`;
    const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (!file && !name.startsWith("onnxruntime-")) throw new Error(`${folder} has no licence file`);
    texts.push(`${name} ${version} (${license})\n\n${readFileSync(file ? `${folder}/${file}` : NOT_IN_PACKAGE, "utf8")}`);
  }
  return texts.join(`\n\n${"=".repeat(80)}\n\n`);
}

/** Tells the service worker which files the page consists of, and writes the licences. */
function shell(): Plugin {
  return {
    name: "moebius-shell",
    apply: "build",
    generateBundle(_, bundle) {
      this.emitFile({ type: "asset", fileName: "licences.txt", source: licences() });
      // The engine's binaries are kept when they are first used: a browser needs one of the two.
      const files = Object.keys(bundle).filter((name) => !/\.(wasm|map)$/.test(name) && name !== "sw.js");
      const list = ["./", "licences.txt", "icon.svg", ...files.filter((name) => name !== "index.html")].sort();
      const version = createHash("sha256").update(JSON.stringify(list)).digest("hex").slice(0, 12);
      const worker = bundle["sw.js"];
      if (worker?.type !== "chunk") throw new Error("the build has no sw.js");
      worker.code = worker.code
        .replace(/["'`]__SHELL_FILES__["'`]/g, JSON.stringify(list))
        .replace("__SHELL_VERSION__", version);
    },
  };
}

export default defineConfig({
  base: "./",
  // The engine's WASM files as files of their own: only the one that a browser needs is downloaded.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
  optimizeDeps: { exclude: ["onnxruntime-web"] },
  server: { headers },
  preview: { headers },
  worker: { format: "es", rolldownOptions: { output: { assetFileNames } } },
  plugins: [shell()],
  build: {
    target: "es2022",
    chunkSizeWarningLimit: 1000,
    rolldownOptions: {
      input: { index: "index.html", sw: "src/sw.ts" },
      output: {
        entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
        assetFileNames,
      },
    },
  },
});
