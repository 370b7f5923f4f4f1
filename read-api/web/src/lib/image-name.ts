// The names of container images. `domain/src/image.rs` has the whole grammar.

/**
 * Returns the short form of a full image name, as people type it: without `docker.io/`, `library/` and
 * `:latest`, as far as the short form still names the same image. It equals `ImageRef::familiar`; both
 * are tested with `domain/testdata/familiar_names.json`.
 */
export function familiar(image: string): string {
  const full = image.replace(/:latest$/, "");
  const short = full.replace(/^docker\.io\//, "");
  if (short === full) return full;
  const [first = "", ...rest] = short.split("/");
  const [name] = rest;
  if (first === "library" && name !== undefined && rest.length === 1 && !startsWithImageId(name)) return name;
  return first.includes(".") || first === "localhost" ? full : short;
}

function startsWithImageId(name: string): boolean {
  return /^[0-9a-f]{64}(?![^:@])/.test(name);
}
