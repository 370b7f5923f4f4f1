// The venue that an address names: `?venue=berlin&venue_code=K7QF`.
import type { Challenge } from "./api";

/** A room of the event. */
export type Venue = Challenge["venues"][number];

/** What the address says about the venue. */
export interface VenueClaim {
  venue: string | null;
  code: string | null;
}

/** Reads the claim in the query of an address. */
export function venueClaim(search: string): VenueClaim {
  const query = new URLSearchParams(search);
  const text = (name: string): string | null => query.get(name)?.trim() || null;
  return { venue: text("venue"), code: text("venue_code") };
}

/** Returns the query of an address with a claim, with the leading `?`; nothing if there is none. */
export function claimQuery({ venue, code }: VenueClaim): string {
  const query = new URLSearchParams();
  if (venue !== null) query.set("venue", venue);
  if (code !== null) query.set("venue_code", code);
  return query.size === 0 ? "" : `?${query.toString()}`;
}

/** Returns a path of the API that is limited to a venue, or to none. */
export function atVenue(path: string, venue: string | null): string {
  if (venue === null) return path;
  return `${path}${path.includes("?") ? "&" : "?"}venue=${encodeURIComponent(venue)}`;
}
