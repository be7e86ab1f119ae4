/**
 * Start the service worker, and wait until it answers for this page, so that it keeps the engine's files from the
 * first visit on. A browser without one goes on after a moment.
 */
export async function startServiceWorker(): Promise<void> {
  if (!("serviceWorker" in navigator) || !import.meta.env.PROD) return;
  const container = navigator.serviceWorker;
  try {
    await container.register("./sw.js");
  } catch {
    return; // switched off by the user: the page works, but not offline
  }
  if (container.controller) return;
  await new Promise<void>((resolve) => {
    container.addEventListener("controllerchange", () => resolve(), { once: true });
    setTimeout(resolve, 5000);
  });
}
