/** The one thing that a browser does not tell about a JPEG: its colour profile. */

const MARKER = "ICC_PROFILE\0";

/** The ICC profile in a JPEG's APP2 segments (ICC.1, annex B.4), put together; null for none and for other files. */
export function jpegProfile(bytes: Uint8Array): Uint8Array | null {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return null;
  const parts: Uint8Array[] = [];
  let at = 2;
  while (at + 4 <= bytes.length && bytes[at] === 0xff) {
    const kind = bytes[at + 1]!;
    if (kind === 0xda) break; // the pixels begin
    const end = at + 2 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
    if (kind === 0xe2 && end <= bytes.length) {
      const segment = bytes.subarray(at + 4, end);
      const name = String.fromCharCode(...segment.subarray(0, MARKER.length));
      // After the name: which part this is, from 1, and how many there are.
      if (name === MARKER) parts[segment[MARKER.length]! - 1] = segment.slice(MARKER.length + 2);
    }
    at = end;
  }
  if (parts.length === 0 || parts.includes(undefined as never)) return null;
  const profile = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    profile.set(part, offset);
    offset += part.length;
  }
  return profile;
}
