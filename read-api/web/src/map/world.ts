// The land and borders under the pins, from Natural Earth. The coarse data is loaded first, and the
// fine data when the map is zoomed in.
import { canvas, geoJSON, type GeoJSON, type Map as LeafletMap } from "leaflet";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, GeometryObject, Topology } from "topojson-specification";
import type { Feature, FeatureCollection, Polygon, Position } from "geojson";
import coarseUrl from "world-atlas/countries-110m.json?url";
import fineUrl from "world-atlas/countries-50m.json?url";
import { get } from "../lib/http";
import { colour, onThemeChange } from "../lib/theme";

type Atlas = Topology<{ countries: GeometryCollection<{ name: string }>; land: GeometryObject }>;

/** The zoom from which the fine data is used. */
const FINE_FROM_ZOOM = 3.6;

interface Country {
  name: string;
  box: Box;
  polygons: Ring[][];
}

interface Box {
  west: number;
  south: number;
  east: number;
  north: number;
}

export class World {
  #shown: { land: GeoJSON; borders: GeoJSON } | null = null;
  #countries: Country[] = [];
  #detail: "none" | "coarse" | "fine" = "none";
  #loading = false;

  constructor(private readonly map: LeafletMap) {
    // Under everything else: each page that has a world draws its pins above it.
    map.createPane("world").style.zIndex = "200";
    map.on("moveend", () => void this.#loadWanted());
    onThemeChange(() => this.#paint());
    void this.#loadWanted();
  }

  /** Returns the country at a place, or `null` at sea. */
  countryAt(lat: number, lon: number): string | null {
    const here = this.#countries.find(({ box, polygons }) => {
      const inBox = lon >= box.west && lon <= box.east && lat >= box.south && lat <= box.north;
      return (
        inBox && polygons.some((rings) => rings.filter((ring) => surrounds(ring, lon, lat)).length % 2 === 1)
      );
    });
    return here?.name ?? null;
  }

  async #loadWanted(): Promise<void> {
    const wanted = this.map.getZoom() >= FINE_FROM_ZOOM ? "fine" : "coarse";
    if (this.#loading || this.#detail === "fine" || this.#detail === wanted) return;
    this.#loading = true;
    try {
      this.#show(await get<Atlas>(wanted === "fine" ? fineUrl : coarseUrl));
      this.#detail = wanted;
    } catch {
      // The pins are shown without the land, and the next move tries again.
      return;
    } finally {
      this.#loading = false;
    }
    // The map may have moved meanwhile.
    void this.#loadWanted();
  }

  #show(atlas: Atlas): void {
    const renderer = canvas({ pane: "world", padding: 0.5 });
    const options = { interactive: false, renderer, pane: "world" };
    const land = geoJSON(undefined, { ...options });
    for (const coordinates of polygonsIn(feature(atlas, atlas.objects.land)).flatMap(splitAtAntimeridian)) {
      const polygon: Polygon = { type: "Polygon", coordinates };
      land.addData(polygon);
    }
    const borders = geoJSON(
      mesh(atlas, atlas.objects.countries, (one, other) => one !== other),
      { ...options },
    );
    const before = this.#shown;
    this.#shown = { land: land.addTo(this.map), borders: borders.addTo(this.map) };
    before?.land.remove();
    before?.borders.remove();
    this.#paint();
    this.#countries = feature(atlas, atlas.objects.countries).features.map((country) => {
      const polygons = polygonsIn(country).flatMap(splitAtAntimeridian);
      return { name: country.properties.name, box: boxAround(polygons), polygons };
    });
  }

  #paint(): void {
    if (this.#shown === null) return;
    this.#shown.land.setStyle({
      fillColor: colour("--land"),
      fillOpacity: 1,
      color: colour("--coast"),
      weight: 0.8,
    });
    this.#shown.borders.setStyle({ color: colour("--border"), weight: 0.8, fill: false });
  }
}

type Ring = Position[];

/** Returns the polygons of a feature or of a collection. */
function polygonsIn(shape: Feature | FeatureCollection): Ring[][] {
  if (shape.type === "FeatureCollection") return shape.features.flatMap(polygonsIn);
  const { geometry } = shape;
  if (geometry.type === "MultiPolygon") return geometry.coordinates;
  return geometry.type === "Polygon" ? [geometry.coordinates] : [];
}

/**
 * Returns a polygon so that it can be drawn if it crosses the antimeridian. Such a polygon jumps from one
 * edge of the map to the other, which would draw a line across the world. Without the jump the polygon
 * extends beyond one edge, so it is returned twice, once at each edge.
 */
function splitAtAntimeridian(polygon: Ring[]): Ring[][] {
  const rings = polygon.map(withoutJumps);
  const lons = rings.flat().map(([lon = 0]) => lon);
  const beyond = lons.some((lon) => lon > 180) ? -360 : lons.some((lon) => lon < -180) ? 360 : 0;
  if (beyond === 0) return [rings];
  return [rings, rings.map((ring) => ring.map(([lon = 0, lat = 0]) => [lon + beyond, lat]))];
}

function withoutJumps(ring: Ring): Ring {
  let before = ring[0]?.[0] ?? 0;
  const unrolled = ring.map(([lon = 0, lat = 0]) => {
    before += ((((lon - before + 180) % 360) + 360) % 360) - 180;
    return [before, lat];
  });
  // Antarctica goes around the pole and must not be unrolled.
  const closes = Math.abs((unrolled.at(-1)?.[0] ?? 0) - (unrolled[0]?.[0] ?? 0)) < 1;
  return closes ? unrolled : ring;
}

function boxAround(polygons: Ring[][]): Box {
  const box = { west: 180, south: 90, east: -180, north: -90 };
  for (const [lon = 0, lat = 0] of polygons.flat(2)) {
    box.west = Math.min(box.west, lon);
    box.east = Math.max(box.east, lon);
    box.south = Math.min(box.south, lat);
    box.north = Math.max(box.north, lat);
  }
  return box;
}

/** Returns true if a ray from the point crosses the ring an odd number of times. */
function surrounds(ring: Ring, lon: number, lat: number): boolean {
  let inside = false;
  let [lon1 = 0, lat1 = 0] = ring[ring.length - 1] ?? [];
  for (const [lon2 = 0, lat2 = 0] of ring) {
    if (lat1 > lat !== lat2 > lat && lon < ((lon2 - lon1) * (lat - lat1)) / (lat2 - lat1) + lon1)
      inside = !inside;
    [lon1, lat1] = [lon2, lat2];
  }
  return inside;
}
