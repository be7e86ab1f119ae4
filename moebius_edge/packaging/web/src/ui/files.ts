/** The ways in which a file comes to the page: chosen, dropped, pasted. */

import { element } from "./elements.js";

/** Call `open` with each file that is chosen with this input. */
export function onFile(id: string, open: (file: File) => void): void {
  const input = element<HTMLInputElement>(id);
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    input.value = ""; // the same file can be chosen again
    if (file) open(file);
  });
}

/** Call `open` with each file that is dropped on the page or pasted into it. */
export function onDrop(open: (file: File) => void): void {
  const stage = element("stage");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) stage.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (file) open(file);
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) open(file);
  });
}
