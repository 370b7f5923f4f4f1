// The view of the map in the page's address: `#zoom/lat/lon`, followed by `/lat,lon/owner` if a pin's
// card is open. A link to that address opens the same view.

export interface View {
  zoom: number;
  lat: number;
  lon: number;
  pin: NamedPin | null;
}

/** A pin, named by its owner, and its place. */
export interface NamedPin {
  lat: number;
  lon: number;
  owner: string;
}

/** Parses the view in an address; returns `null` if there is none. Degrees beyond ±180 are wrapped. */
export function readView(hash: string): View | null {
  const [zoom, lat, lon, place, owner] = hash.replace(/^#/, "").split("/");
  const here = numbers([zoom, lat, lon]);
  if (here === null || !onEarth(here[1])) return null;
  const there = numbers(place?.split(",") ?? []);
  const name = decoded(owner ?? "");
  const pin =
    there !== null && onEarth(there[0]) && name !== ""
      ? { lat: there[0], lon: meridian(there[1]), owner: name }
      : null;
  return { zoom: here[0], lat: here[1], lon: meridian(here[2]), pin };
}

/** Formats a view as the hash of an address. */
export function writeView({ zoom, lat, lon, pin }: View): string {
  const digits = Math.max(2, Math.ceil(zoom / 3));
  const view = `#${Number(zoom.toFixed(2))}/${lat.toFixed(digits)}/${lon.toFixed(digits)}`;
  if (pin === null) return view;
  return `${view}/${pin.lat.toFixed(5)},${pin.lon.toFixed(5)}/${encodeURIComponent(pin.owner)}`;
}

function numbers(texts: (string | undefined)[]): [number, number, number] | null {
  const all = texts.map((text) => (text === undefined || text === "" ? NaN : Number(text)));
  return all.length > 1 && all.every(Number.isFinite) ? [all[0] ?? 0, all[1] ?? 0, all[2] ?? 0] : null;
}

function onEarth(lat: number): boolean {
  return Math.abs(lat) <= 90;
}

/** Returns the same meridian from −180 to 180 degrees. */
function meridian(lon: number): number {
  return Math.abs(lon) <= 180 ? lon : ((((lon + 180) % 360) + 360) % 360) - 180;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
