/** The photo on the screen: before and after, one over the other, with a divider to compare them. */

import { element } from "./elements.js";

const NARROW = 15; // percent: less of a picture has no room for its name

export class Frame {
  private readonly frame = element("frame");
  private readonly before = element<HTMLCanvasElement>("before");
  private readonly after = element<HTMLCanvasElement>("after");
  private readonly divider = element("divider");
  private readonly bar = element("compare");
  private readonly range = element<HTMLInputElement>("compare-range");
  private readonly tags = [element("tag-before"), element("tag-after")] as const;

  constructor() {
    this.range.addEventListener("input", () => this.divide(Number(this.range.value)));
    this.frame.addEventListener("pointerdown", (event) => this.drag(event));
    this.frame.addEventListener("pointermove", (event) => event.buttons && this.drag(event));
  }

  /** Show a photo. It says how large a canvas over it must be. */
  showPhoto(view: ImageBitmap): { width: number; height: number } {
    const { width, height } = view;
    draw(this.before, view);
    this.hideResult();
    element("drop").hidden = true;
    this.frame.hidden = false;
    this.frame.style.setProperty("--ratio", String(width / height));
    return { width, height };
  }

  /** Show a result over the photo, and the slider. */
  showResult(view: ImageBitmap): void {
    draw(this.after, view);
    this.setComparing(true);
    this.divide(0); // all of it is the result
    this.range.value = "0";
  }

  hideResult(): void {
    this.setComparing(false);
  }

  private setComparing(on: boolean): void {
    this.frame.classList.toggle("comparing", on);
    for (const part of [this.after, this.divider, this.bar, ...this.tags]) part.hidden = !on;
  }

  private drag(event: PointerEvent): void {
    if (!this.frame.classList.contains("comparing")) return;
    const box = this.frame.getBoundingClientRect();
    const percent = Math.min(Math.max((100 * (event.clientX - box.left)) / box.width, 0), 100);
    this.range.value = String(percent);
    this.divide(percent);
    event.preventDefault();
  }

  private divide(percent: number): void {
    this.frame.style.setProperty("--divide", `${percent}%`);
    this.tags[0].classList.toggle("away", percent < NARROW);
    this.tags[1].classList.toggle("away", percent > 100 - NARROW);
  }
}

function draw(canvas: HTMLCanvasElement, view: ImageBitmap): void {
  canvas.width = view.width;
  canvas.height = view.height;
  canvas.getContext("2d")!.drawImage(view, 0, 0);
  view.close();
}
