/** The tools and settings: sliders that show their value, and keyboard shortcuts. */

import { MAX_SEED, parseSeed } from "../loop/noise.js";
import type { Settings } from "../model.js";
import { element } from "./elements.js";
import type { Painter } from "./painter.js";

const SMALLEST_BRUSH = 2; // photo pixels
const CHOICES = ["seed", "steps", "guidance", "dilate"];

/** Sets up the sliders and the tool switch. `painter` gets the brush. */
export class Controls {
  private shortSide = 1000; // of the photo, pixels
  private last = ""; // choices
  private readonly size = element<HTMLInputElement>("brush-size");

  constructor(private readonly painter: Painter) {
    this.size.addEventListener("input", () => this.applyBrush());
    for (const tool of ["brush", "eraser"] as const) {
      element(`tool-${tool}`).addEventListener("change", () => (this.painter.tool = tool));
    }
    showValue("steps");
    showValue("guidance");
    showValue("dilate", " px");
    element("dice").addEventListener("click", () => {
      const [random] = crypto.getRandomValues(new Uint32Array(1));
      element<HTMLInputElement>("seed").value = String(random! % 100_000);
    });
  }

  /** The defaults of a bundle. */
  setDefaults(defaults: { steps: number; guidance: number }): void {
    setRange("steps", defaults.steps);
    setRange("guidance", defaults.guidance);
  }

  /** A new photo: the sizes of the brush follow it. */
  setPhoto(width: number, height: number): void {
    this.shortSide = Math.min(width, height);
    this.applyBrush();
  }

  selectTool(tool: "brush" | "eraser"): void {
    element<HTMLInputElement>(`tool-${tool}`).checked = true;
    this.painter.tool = tool;
  }

  /** `steps` of the slider larger or smaller. */
  changeBrush(steps: number): void {
    this.size.value = String(Number(this.size.value) + steps);
    this.applyBrush();
  }

  /**
   * What the user has chosen. `another`: if that is what was chosen the last time, too, then with the next
   * seed, for the same again would be the same picture. Throws InvalidInput for a seed that is none.
   */
  settings(another = false): Settings & { dilate: number } {
    const seed = element<HTMLInputElement>("seed");
    const chosen = (): string => CHOICES.map((id) => element<HTMLInputElement>(id).value).join();
    if (another && chosen() === this.last) seed.value = String((parseSeed(seed.value) + 1n) & MAX_SEED);
    this.last = chosen();
    const number = (id: string): number => Number(element<HTMLInputElement>(id).value);
    return {
      seed: parseSeed(seed.value),
      steps: number("steps"),
      guidance: number("guidance"),
      dilate: number("dilate"),
    };
  }

  private applyBrush(): void {
    // Each step of the slider is a step of the eye: by the same factor.
    const largest = Math.max(this.shortSide / 2, 2 * SMALLEST_BRUSH);
    const diameter = SMALLEST_BRUSH * (largest / SMALLEST_BRUSH) ** (Number(this.size.value) / 100);
    this.painter.setDiameter(diameter);
    element("brush-size-text").textContent = `${Math.round(diameter)} px`;
  }
}

function setRange(id: string, value: number): void {
  const input = element<HTMLInputElement>(id);
  input.max = String(Math.max(Number(input.max), value));
  input.value = String(value);
  input.dispatchEvent(new Event("input"));
}

function showValue(id: string, unit = ""): void {
  const input = element<HTMLInputElement>(id);
  const show = (): void => {
    element(`${id}-text`).textContent = input.value + unit;
  };
  input.addEventListener("input", show);
  show();
}

/** Single keys, where no text is typed. The page documents them. */
export function onShortcut(actions: Record<string, () => void>): void {
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    const typing = target instanceof HTMLInputElement && target.type === "text";
    const undo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if (typing && event.key !== "Escape") return;
    if (!undo && (event.ctrlKey || event.metaKey || event.altKey)) return;
    const inPhoto = target.id === "mask";
    if (event.key === "Enter" && !inPhoto) return; // buttons have it
    const action = actions[undo ? "undo" : event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

