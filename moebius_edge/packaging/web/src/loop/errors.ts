/** A photo, a mask or an option cannot be used. The message is one sentence for the user. */
export class InvalidInput extends Error {
  override name = "InvalidInput";
}

/** A graph gave NaN or Inf. */
export class NotFinite extends Error {
  override name = "NotFinite";
}
