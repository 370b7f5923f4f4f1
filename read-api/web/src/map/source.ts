// Asks the server for what the screen shows: not while the map still moves, not
// for what is known already, and never for two screens at once.
import type { LatLngBounds } from "leaflet";
import type { FeatureCollection, SpotFeature } from "../lib/api";
import { type Failure, get, isAbort } from "../lib/http";

const SETTLE_MS = 90;
/** While pins arrive, the clusters are counted anew this often; the pins themselves are drawn at once. */
const RECOUNT_MS = 1500;
const RETRY_MS = { first: 1000, longest: 15_000 };
const KEPT = 24;
/** Part of a screen that is asked for beyond each edge. */
const MARGIN = 0.3;
const LAT_MAX = 85.0511;

interface Sheet {
  key: string;
  zoom: number;
  west: number;
  south: number;
  east: number;
  north: number;
}

interface Loaded {
  sheet: Sheet;
  spots: SpotFeature[];
  /** Changes that are not in it have a higher number. */
  version: number;
}

export interface Screen {
  bounds: LatLngBounds;
  zoom: number;
}

export class PinSource {
  #screen: Screen | null = null;
  #loaded = new Map<string, Loaded>();
  #shown: Loaded | null = null;
  #version = 0;
  #request: AbortController | null = null;
  /** What it is for, while it is under way. */
  #asking: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Infinity;
  #failures = 0;

  constructor(
    private readonly onSpots: (spots: SpotFeature[], askedAt: number) => void,
    private readonly onFailure: (failure: Failure) => void,
  ) {}

  /** The map shows this now. */
  look(screen: Screen): void {
    this.#screen = screen;
    const zoom = serverZoom(screen.zoom);
    if (this.#shown?.sheet.zoom === zoom && covers(this.#shown.sheet, screen.bounds)) {
      if (this.#shown.version === this.#version) return;
    } else {
      const known = [...this.#loaded.values()].findLast(
        ({ sheet }) => sheet.zoom === zoom && covers(sheet, screen.bounds),
      );
      if (known !== undefined) this.#show(known, 0);
      if (known?.version === this.#version) return;
    }
    this.#askIn(SETTLE_MS, "anew");
  }

  /** Something has changed on the server. */
  changed(urgently = false): void {
    this.#version += 1;
    this.#askIn(urgently ? 0 : RECOUNT_MS * (0.8 + Math.random() * 0.4), "keep");
  }

  /** Asks at `delay` from now; `keep` an earlier time, or wait `anew`. */
  #askIn(delay: number, other: "keep" | "anew"): void {
    const due = performance.now() + delay;
    if (other === "keep" && this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#due = Infinity;
      void this.#ask();
    }, delay);
  }

  async #ask(): Promise<void> {
    if (this.#screen === null) return;
    const sheet = sheetFor(this.#screen);
    // A slow answer is waited for: else none would ever come while pins do.
    if (this.#asking === sheet.key) {
      this.#askIn(RECOUNT_MS, "keep");
      return;
    }
    const [version, askedAt] = [this.#version, performance.now()];
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    this.#asking = sheet.key;
    try {
      const { west, south, east, north, zoom } = sheet;
      const path = `/api/v1/pins?bbox=${west},${south},${east},${north}&zoom=${zoom}`;
      const answer = await get<FeatureCollection<SpotFeature>>(path, { signal: request.signal });
      if (request.signal.aborted) return;
      this.#failures = 0;
      const loaded = { sheet, spots: answer.features, version };
      this.#loaded.delete(sheet.key);
      this.#loaded.set(sheet.key, loaded);
      for (const oldest of [...this.#loaded.keys()].slice(0, -KEPT)) this.#loaded.delete(oldest);
      this.#show(loaded, askedAt);
    } catch (error) {
      if (isAbort(error) || request.signal.aborted) return;
      this.onFailure(error as Failure);
      this.#failures += 1;
      this.#askIn(Math.min(RETRY_MS.first * 2 ** this.#failures, RETRY_MS.longest), "keep");
    } finally {
      if (this.#request === request) this.#asking = null;
    }
  }

  #show(loaded: Loaded, askedAt: number): void {
    this.#shown = loaded;
    this.onSpots(loaded.spots, askedAt);
  }
}

/** The zoom at which the server is asked: cells are then at least as far apart as it sees to. */
export function serverZoom(zoom: number): number {
  return Math.max(0, Math.floor(zoom + 0.01));
}

function covers(sheet: Sheet, bounds: LatLngBounds): boolean {
  return (
    sheet.west <= Math.max(bounds.getWest(), -180) &&
    sheet.east >= Math.min(bounds.getEast(), 180) &&
    sheet.south <= Math.max(bounds.getSouth(), -LAT_MAX) &&
    sheet.north >= Math.min(bounds.getNorth(), LAT_MAX)
  );
}

/** A box around the screen, its edges on a coarse grid so that neighbouring screens ask for the same. */
function sheetFor({ bounds, zoom }: Screen): Sheet {
  const step = 360 / 2 ** (serverZoom(zoom) + 1);
  const [width, height] = [bounds.getEast() - bounds.getWest(), bounds.getNorth() - bounds.getSouth()];
  const down = (degrees: number, min: number): number =>
    round(Math.max(min, Math.floor(degrees / step) * step));
  const up = (degrees: number, max: number): number => round(Math.min(max, Math.ceil(degrees / step) * step));
  const sheet = {
    zoom: serverZoom(zoom),
    west: down(bounds.getWest() - MARGIN * width, -180),
    south: down(bounds.getSouth() - MARGIN * height, -90),
    east: up(bounds.getEast() + MARGIN * width, 180),
    north: up(bounds.getNorth() + MARGIN * height, 90),
  };
  return { ...sheet, key: Object.values(sheet).join(" ") };
}

const round = (degrees: number): number => Math.round(degrees * 1e6) / 1e6;
