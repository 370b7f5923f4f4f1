// Requests from the server the features that the screen shows. It makes no request while the map moves
// or if the features are in the cache, and never more than one request at a time.
import type { LatLngBounds } from "leaflet";
import type { FeatureCollection, MapFeature } from "../lib/api";
import { type Failure, get, isAbort } from "../lib/http";
import { atVenue } from "../lib/venue";

const SETTLE_MS = 90;
/** The interval at which clusters are requested again while pins arrive. New pins are drawn at once. */
const RECOUNT_MS = 1500;
const RETRY_MS = { first: 1000, longest: 15_000 };
const CACHE_MAX = 24;
/** The part of the screen's size that is requested beyond each edge. */
const MARGIN = 0.3;
const LAT_MAX = 85.0511;

interface RequestBox {
  key: string;
  zoom: number;
  west: number;
  south: number;
  east: number;
  north: number;
}

interface Loaded {
  box: RequestBox;
  features: MapFeature[];
  /** The version of the data. Later changes have a higher number. */
  version: number;
}

type Bounds = Pick<LatLngBounds, "getWest" | "getSouth" | "getEast" | "getNorth">;

export interface Screen {
  bounds: Bounds;
  zoom: number;
}

export class PinSource {
  #screen: Screen | null = null;
  #loaded = new Map<string, Loaded>();
  #shown: Loaded | null = null;
  #version = 0;
  #abort: AbortController | null = null;
  /** The key of the box that is being requested. */
  #requestedKey: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Infinity;
  #failures = 0;

  constructor(
    private readonly onFeatures: (features: MapFeature[], requestedAt: number) => void,
    private readonly onFailure: (failure: Failure) => void,
    /** The venue whose pins are shown; `null` for all. */
    private readonly venue: string | null = null,
  ) {}

  /** Shows the features of a screen, from the cache or by a request. */
  showScreen(screen: Screen): void {
    this.#screen = screen;
    const zoom = serverZoom(screen.zoom);
    if (this.#shown?.box.zoom === zoom && covers(this.#shown.box, screen.bounds)) {
      if (this.#shown.version === this.#version) return;
    } else {
      const known = [...this.#loaded.values()].findLast(
        ({ box }) => box.zoom === zoom && covers(box, screen.bounds),
      );
      if (known !== undefined) this.#show(known, 0);
      if (known?.version === this.#version) return;
    }
    this.#scheduleRequest(SETTLE_MS, "anew");
  }

  /** Requests the features again, because the server's data has changed. */
  onChange(urgently = false): void {
    this.#version += 1;
    this.#scheduleRequest(urgently ? 0 : RECOUNT_MS * (0.8 + Math.random() * 0.4), "keep");
  }

  /** Schedules a request. If one is scheduled already, `keep` keeps the earlier of the two and `anew` replaces it. */
  #scheduleRequest(delay: number, other: "keep" | "anew"): void {
    const due = performance.now() + delay;
    if (other === "keep" && this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#due = Infinity;
      void this.#request();
    }, delay);
  }

  async #request(): Promise<void> {
    if (this.#screen === null) return;
    const box = boxFor(this.#screen);
    // Wait for a slow response. Aborting it on each change would mean that none arrives while pins do.
    if (this.#requestedKey === box.key) {
      this.#scheduleRequest(RECOUNT_MS, "keep");
      return;
    }
    const [version, requestedAt] = [this.#version, performance.now()];
    this.#abort?.abort();
    const request = new AbortController();
    this.#abort = request;
    this.#requestedKey = box.key;
    try {
      const { west, south, east, north, zoom } = box;
      const all = `/api/v1/pins?bbox=${west},${south},${east},${north}&zoom=${zoom}`;
      const path = atVenue(all, this.venue);
      const answer = await get<FeatureCollection<MapFeature>>(path, { signal: request.signal });
      if (request.signal.aborted) return;
      this.#failures = 0;
      const loaded = { box, features: answer.features, version };
      this.#loaded.delete(box.key);
      this.#loaded.set(box.key, loaded);
      for (const oldest of [...this.#loaded.keys()].slice(0, -CACHE_MAX)) this.#loaded.delete(oldest);
      this.#show(loaded, requestedAt);
    } catch (error) {
      if (isAbort(error) || request.signal.aborted) return;
      const failure = error as Failure;
      this.onFailure(failure);
      this.#failures += 1;
      const pause = Math.min(RETRY_MS.first * 2 ** this.#failures, RETRY_MS.longest);
      this.#scheduleRequest(failure.retryAfterMs ?? pause, "keep");
    } finally {
      if (this.#abort === request) this.#requestedKey = null;
    }
  }

  #show(loaded: Loaded, requestedAt: number): void {
    this.#shown = loaded;
    this.onFeatures(loaded.features, requestedAt);
  }
}

/** Returns the zoom for a request. It is rounded down, so that clusters are at least as far apart as the server ensures. */
export function serverZoom(zoom: number): number {
  return Math.max(0, Math.floor(zoom + 0.01));
}

/** Returns true if the box has everything within the bounds. */
export function covers(box: RequestBox, bounds: Bounds): boolean {
  return (
    box.west <= Math.max(bounds.getWest(), -180) &&
    box.east >= Math.min(bounds.getEast(), 180) &&
    box.south <= Math.max(bounds.getSouth(), -LAT_MAX) &&
    box.north >= Math.min(bounds.getNorth(), LAT_MAX)
  );
}

/** Returns the box to request for a screen. Its edges are on a coarse grid, so that neighbouring screens have the same box. */
export function boxFor({ bounds, zoom }: Screen): RequestBox {
  const step = 360 / 2 ** (serverZoom(zoom) + 1);
  const [width, height] = [bounds.getEast() - bounds.getWest(), bounds.getNorth() - bounds.getSouth()];
  const down = (degrees: number, min: number): number =>
    round(Math.max(min, Math.floor(degrees / step) * step));
  const up = (degrees: number, max: number): number => round(Math.min(max, Math.ceil(degrees / step) * step));
  const box = {
    zoom: serverZoom(zoom),
    west: down(bounds.getWest() - MARGIN * width, -180),
    south: down(bounds.getSouth() - MARGIN * height, -90),
    east: up(bounds.getEast() + MARGIN * width, 180),
    north: up(bounds.getNorth() + MARGIN * height, 90),
  };
  return { ...box, key: Object.values(box).join(" ") };
}

const round = (degrees: number): number => Math.round(degrees * 1e6) / 1e6;
