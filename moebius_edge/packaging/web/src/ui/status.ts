/** The one place for progress, messages and errors. */

import { element } from "./elements.js";

export class Status {
  private readonly bar = element<HTMLProgressElement>("progress");
  private readonly text = element("status");
  private readonly error = element("error");
  private readonly retry = element<HTMLButtonElement>("retry");
  private readonly notices = element("notices");
  private said = "";

  /** What goes on; `part` 0 to 1 shows the bar, null hides it. An error that was shown is taken away. */
  show(sentence: string, part: number | null = null): void {
    this.error.hidden = true;
    this.retry.hidden = true;
    this.bar.hidden = part === null;
    if (part !== null) this.bar.value = part;
    // Screen readers would read every change: numbers are for the eyes, words for both.
    const words = sentence.replace(/[\d.,]+/g, "");
    this.text.setAttribute("aria-live", words === this.said ? "off" : "polite");
    this.said = words;
    this.text.textContent = sentence;
  }

  /** An error, as one sentence. `again`: what the button "Try again" does. */
  fail(error: unknown, again?: () => void): void {
    this.show("");
    this.error.textContent = sentenceOf(error);
    this.error.hidden = false;
    this.retry.hidden = !again;
    this.retry.onclick = again ?? null;
  }

  /** Something that was put right, or that the user should know: it stays. */
  notice(sentence: string): void {
    const item = document.createElement("li");
    item.textContent = sentence;
    this.notices.append(item);
  }
}

const KNOWN = ["InvalidInput", "NotFinite", "PackageError", "ConnectionLost", "EngineError", "SelfTestFailed"];

function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return `Something went wrong: ${String(error)}. Reload the page.`;
  if (KNOWN.includes(error.name)) return error.message;
  if (/memory|allocat/i.test(error.message)) {
    return "This device has not enough memory for that. Close other tabs, or use a smaller photo, and try again.";
  }
  return `Something went wrong: ${error.message} Reload the page and try again.`;
}
