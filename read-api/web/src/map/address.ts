// The view in the address: `#zoom/lat/lon`, and the owner of the pin whose card
// is open. Whoever opens the link sees the same.

export interface View {
  zoom: number;
  lat: number;
  lon: number;
  owner: string | null;
}

/** The view that an address names; `null` when it names none. */
export function readView(hash: string): View | null {
  const [zoom, lat, lon, owner] = hash.replace(/^#/, "").split("/");
  const view = { zoom: Number(zoom), lat: Number(lat), lon: Number(lon) };
  if (!zoom || !lat || !lon || Object.values(view).some((part) => !Number.isFinite(part))) return null;
  if (Math.abs(view.lat) > 90 || Math.abs(view.lon) > 180) return null;
  return { ...view, owner: owner ? decode(owner) : null };
}

/** The address of a view. */
export function writeView({ zoom, lat, lon, owner }: View): string {
  const digits = Math.max(2, Math.ceil(zoom / 3));
  const place = `#${Number(zoom.toFixed(2))}/${lat.toFixed(digits)}/${lon.toFixed(digits)}`;
  return owner === null ? place : `${place}/${encodeURIComponent(owner)}`;
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
