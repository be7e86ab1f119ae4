/**
 * The service worker: the page itself, kept for visits without a network.
 *
 * Everything but the models, which src/bundle/store.ts keeps and checks. It also adds the headers of cross-origin
 * isolation, so that a host that cannot send them has threads from the second visit on.
 */

import type { ServiceWorkerScope } from "./sw-types.js";

const scope = self as unknown as ServiceWorkerScope;
const FILES = "__SHELL_FILES__" as unknown as string[]; // put in by vite.config.ts, paths relative to this file
const SHELL = "moebius-shell-__SHELL_VERSION__";
// Besides these the engine that is used and the small files that describe the model are kept: not a model that
// somebody opens in a tab.
const SHELL_URLS = new Set(FILES.map((file) => new URL(file, scope.registration.scope).href));

scope.addEventListener("install", (event) => {
  event.waitUntil(install());
});

scope.addEventListener("activate", (event) => {
  event.waitUntil(activate());
});

scope.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const ours = request.url.startsWith(scope.registration.scope) && request.method === "GET";
  if (ours && !url.searchParams.has("sha256")) event.respondWith(answer(request));
});

async function install(): Promise<void> {
  const cache = await caches.open(SHELL);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })));
  await scope.skipWaiting();
}

async function activate(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith("moebius-shell-") && name !== SHELL) await caches.delete(name);
  }
  await scope.clients.claim();
}

/** Files with a hash in their name from the cache first; what may change, from the network first. */
async function answer(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const fixed = url.pathname.includes("/assets/");
  const page = new URL(scope.registration.scope).pathname;
  // The page has two addresses. Other files that somebody opens in a tab are not the page.
  const key = [page, `${page}index.html`].includes(url.pathname) ? scope.registration.scope : request.url;
  const cache = await caches.open(SHELL);
  const kept = await cache.match(key, { ignoreSearch: true, ignoreVary: true });
  if (kept && fixed) return isolated(kept);
  try {
    const response = await fetch(request);
    const ours = fixed || SHELL_URLS.has(key) || key.endsWith(".json");
    if (response.ok && ours) await keep(cache, key, response.clone());
    return isolated(response);
  } catch (error) {
    if (kept) return isolated(kept);
    throw error;
  }
}

async function keep(cache: Cache, key: string, response: Response): Promise<void> {
  try {
    await cache.put(key, response);
  } catch {
    // No room: the page works all the same, while there is a network.
  }
}

function isolated(response: Response): Response {
  if (response.type === "opaque" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  const { status, statusText } = response;
  return new Response([204, 304].includes(status) ? null : response.body, { status, statusText, headers });
}
