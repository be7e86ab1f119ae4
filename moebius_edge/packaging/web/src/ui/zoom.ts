/** Closer looks at the photo while the mask is painted: by buttons, keys, a pinch, or the wheel with Ctrl. */

import { element } from "./elements.js";

const LARGEST = 8; // times
const STEP = 1.5; // of the buttons and keys

/** What is painted meanwhile: `enabled` tells whether it is, `abort` takes the stroke at work back. */
export interface Painting {
  enabled: boolean;
  abort(): void;
}

export class Zoom {
  private readonly frame = element("frame");
  private readonly layers = element("layers");
  private readonly buttons = element("zoom");
  private scale = 1;
  private x = 0; // of the layers' corner, in pixels of the screen
  private y = 0;
  private readonly touches = new Map<number, PointerEvent>();

  constructor(private readonly painting: Painting) {
    const { frame } = this;
    frame.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    // Before the painter sees them: a second finger is no stroke.
    frame.addEventListener("pointerdown", (event) => this.down(event), { capture: true });
    frame.addEventListener("pointermove", (event) => this.move(event), { capture: true });
    for (const kind of ["pointerup", "pointercancel"]) {
      frame.addEventListener(kind, (event) => this.touches.delete((event as PointerEvent).pointerId), { capture: true });
    }
    element("zoom-in").addEventListener("click", () => this.closer());
    element("zoom-out").addEventListener("click", () => this.farther());
    element("zoom-fit").addEventListener("click", () => this.fit());
  }

  closer(): void {
    this.about(STEP);
  }

  farther(): void {
    this.about(1 / STEP);
  }

  /** All of the photo. */
  fit(): void {
    this.show(1, 0, 0);
  }

  /** The buttons are there while the mask is painted. */
  set shown(shown: boolean) {
    this.buttons.hidden = !shown;
    if (!shown) this.fit();
  }

  private about(factor: number): void {
    if (!this.painting.enabled) return;
    const box = this.frame.getBoundingClientRect();
    this.zoomAt(box.left + box.width / 2, box.top + box.height / 2, factor);
  }

  /** What is under the point stays there. */
  private zoomAt(clientX: number, clientY: number, factor: number): void {
    const box = this.frame.getBoundingClientRect();
    const [left, top] = [clientX - box.left, clientY - box.top];
    const scale = Math.min(Math.max(this.scale * factor, 1), LARGEST);
    const change = scale / this.scale;
    this.show(scale, left - (left - this.x) * change, top - (top - this.y) * change);
  }

  private wheel(event: WheelEvent): void {
    const closer = event.ctrlKey || event.metaKey; // a trackpad's pinch has ctrlKey, too
    if (!this.painting.enabled || (!closer && this.scale === 1)) return;
    event.preventDefault();
    if (closer) this.zoomAt(event.clientX, event.clientY, Math.exp(-event.deltaY / 200));
    else this.show(this.scale, this.x - event.deltaX, this.y - event.deltaY);
  }

  private down(event: PointerEvent): void {
    if (event.pointerType !== "touch" || !this.painting.enabled) return;
    this.touches.set(event.pointerId, event);
    if (this.touches.size < 2) return;
    this.painting.abort();
    event.stopPropagation();
  }

  private move(event: PointerEvent): void {
    const before = [...this.touches.values()];
    if (!this.touches.has(event.pointerId)) return;
    this.touches.set(event.pointerId, event);
    if (before.length !== 2) return;
    event.stopPropagation();
    const [one, other] = middleAndDistance(before);
    const [now, far] = middleAndDistance([...this.touches.values()]);
    this.show(this.scale, this.x + now.x - one.x, this.y + now.y - one.y);
    if (other > 0) this.zoomAt(now.x, now.y, far / other);
  }

  /** The layers never leave the frame. */
  private show(scale: number, x: number, y: number): void {
    const { width, height } = this.frame.getBoundingClientRect();
    this.scale = scale;
    this.x = Math.min(Math.max(x, width * (1 - scale)), 0);
    this.y = Math.min(Math.max(y, height * (1 - scale)), 0);
    this.layers.style.transform = scale === 1 ? "" : `translate(${this.x}px, ${this.y}px) scale(${scale})`;
    element<HTMLButtonElement>("zoom-out").disabled = scale === 1;
    element<HTMLButtonElement>("zoom-fit").disabled = scale === 1;
    element<HTMLButtonElement>("zoom-in").disabled = scale === LARGEST;
  }
}

function middleAndDistance([one, other]: PointerEvent[]): [{ x: number; y: number }, number] {
  const middle = { x: (one!.clientX + other!.clientX) / 2, y: (one!.clientY + other!.clientY) / 2 };
  return [middle, Math.hypot(one!.clientX - other!.clientX, one!.clientY - other!.clientY)];
}
