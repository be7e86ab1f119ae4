/** Painting the mask, with a pointer or the keyboard. It is kept as strokes in photo pixels. */

import type { MaskPart, Stroke } from "../photo/strokes.js";
import { element } from "./elements.js";

export const MASK_COLOUR: [number, number, number] = [236, 72, 153];

export class Painter {
  /** What the mask is made of, oldest first. */
  parts: MaskPart[] = [];
  tool: Stroke["kind"] = "brush";
  enabled = true;

  private readonly canvas = element<HTMLCanvasElement>("mask");
  private readonly cursor = element("cursor");
  private images: ImageBitmap[] = []; // of opened mask images, by index
  private photo = { width: 1, height: 1 };
  private radius = 1; // photo pixels
  private stroke: Stroke | null = null;
  private at = { x: 0, y: 0 }; // the brush, in photo pixels
  private penDown = false; // of the keyboard

  /** `onChange` is called after each change of the mask. */
  constructor(private readonly onChange: () => void) {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.pointerDown(event));
    canvas.addEventListener("pointermove", (event) => this.pointerMove(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => this.endStroke());
    canvas.addEventListener("pointerleave", () => (this.cursor.hidden = document.activeElement !== canvas));
    canvas.addEventListener("keydown", (event) => this.keyDown(event));
    canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && this.placeCursor());
    canvas.addEventListener("blur", () => {
      this.liftPen();
      this.cursor.hidden = true;
    });
  }

  /** A new photo of this size, shown at the size of `view`: the mask is empty. */
  start(photo: { width: number; height: number }, view: { width: number; height: number }): void {
    this.photo = photo;
    this.canvas.width = view.width;
    this.canvas.height = view.height;
    this.at = { x: photo.width / 2, y: photo.height / 2 };
    for (const image of this.images) image.close();
    this.images = [];
    this.reset();
  }

  /** An empty mask, and nothing to undo. */
  reset(): void {
    this.parts = [];
    this.stroke = null;
    this.redraw();
  }

  /** Diameter of the brush in photo pixels. */
  setDiameter(pixels: number): void {
    this.radius = pixels / 2;
    if (!this.cursor.hidden) this.placeCursor();
  }

  /** An opened mask image replaces what was painted. `index` is the photo worker's, `view` what is shown. */
  addImage(index: number, view: ImageBitmap): void {
    this.images[index] = view;
    this.parts.push({ kind: "image", index });
    this.redraw();
  }

  undo(): void {
    this.stroke = null;
    this.penDown = false;
    this.parts.pop();
    this.redraw();
  }

  /** Take the stroke back that is being painted, if one is. */
  abort(): void {
    if (this.stroke && !this.penDown) this.undo();
  }

  clear(): void {
    this.parts.push({ kind: "clear" });
    this.redraw();
  }

  private pointerDown(event: PointerEvent): void {
    if (!this.enabled || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.liftPen();
    this.moveTo(event);
    this.beginStroke();
  }

  private pointerMove(event: PointerEvent): void {
    if (!this.enabled) return;
    if (this.stroke && !this.penDown) {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length > 0 ? events : [event]) {
        this.moveTo(each);
        this.extendStroke();
      }
    } else if (!this.penDown) this.moveTo(event);
    this.placeCursor();
  }

  private keyDown(event: KeyboardEvent): void {
    const directions: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const direction = directions[event.key];
    if (!this.enabled || (!direction && event.key !== " ")) return;
    event.preventDefault();
    if (direction) {
      const step = Math.max(this.radius * (event.shiftKey ? 0.2 : 1), 1);
      this.at.x = Math.min(Math.max(this.at.x + direction[0] * step, 0), this.photo.width);
      this.at.y = Math.min(Math.max(this.at.y + direction[1] * step, 0), this.photo.height);
      if (this.penDown) this.extendStroke();
    } else if (this.penDown) this.liftPen();
    else {
      this.penDown = true;
      this.beginStroke();
    }
    this.placeCursor();
  }

  private liftPen(): void {
    if (this.penDown) this.endStroke();
    this.penDown = false;
    this.cursor.classList.remove("down");
  }

  private moveTo(event: PointerEvent): void {
    const box = this.canvas.getBoundingClientRect();
    this.at.x = ((event.clientX - box.left) / box.width) * this.photo.width;
    this.at.y = ((event.clientY - box.top) / box.height) * this.photo.height;
  }

  private beginStroke(): void {
    const { x, y } = this.at;
    this.stroke = { kind: this.tool, radius: this.radius, points: [x, y] };
    this.parts.push(this.stroke);
    this.drawPart(this.stroke);
    this.onChange();
  }

  private extendStroke(): void {
    const { points } = this.stroke!;
    const { x, y } = this.at;
    const moved = Math.hypot(x - points.at(-2)!, y - points.at(-1)!);
    if (moved < this.photo.width / this.canvas.width) return; // less than a pixel of the screen
    points.push(x, y);
    this.drawPart({ ...this.stroke!, points: points.slice(-4) });
  }

  private endStroke(): void {
    this.stroke = null;
  }

  private redraw(): void {
    const { width, height } = this.canvas;
    this.canvas.getContext("2d")!.clearRect(0, 0, width, height);
    for (const part of this.parts) this.drawPart(part);
    this.onChange();
  }

  private drawPart(part: MaskPart): void {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d")!;
    if (part.kind === "clear" || part.kind === "image") {
      context.clearRect(0, 0, width, height);
      if (part.kind === "image") context.drawImage(this.images[part.index]!, 0, 0);
      return;
    }
    const scale = width / this.photo.width;
    const [x, y, ...rest] = part.points.map((value) => value * scale);
    context.save();
    context.globalCompositeOperation = part.kind === "brush" ? "source-over" : "destination-out";
    context.strokeStyle = context.fillStyle = `rgb(${MASK_COLOUR.join(" ")})`;
    context.lineWidth = 2 * part.radius * scale;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    if (rest.length === 0) {
      context.arc(x!, y!, part.radius * scale, 0, 2 * Math.PI); // a line without length is not drawn
      context.fill();
    }
    context.moveTo(x!, y!);
    for (let i = 0; i < rest.length; i += 2) context.lineTo(rest[i]!, rest[i + 1]!);
    context.stroke();
    context.restore();
  }

  private placeCursor(): void {
    const box = this.canvas.getBoundingClientRect();
    const frame = this.cursor.parentElement!.getBoundingClientRect();
    const scale = box.width / this.photo.width;
    const { style } = this.cursor;
    this.cursor.hidden = false;
    this.cursor.classList.toggle("down", this.penDown);
    style.width = style.height = `${Math.max(2 * this.radius * scale, 4)}px`;
    style.left = `${box.left - frame.left + this.at.x * scale}px`;
    style.top = `${box.top - frame.top + this.at.y * scale}px`;
  }
}
