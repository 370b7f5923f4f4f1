// Draws pins and clusters on one canvas and knows what is where on it. However
// many changes arrive, it is drawn once a frame at most.
import { DomUtil, LatLng, type LatLngBounds, type Map as LeafletMap, type Point, Renderer } from "leaflet";
import { compact } from "../lib/format";
import { colour, onThemeChange } from "../lib/theme";
import type { ClusterFeature, PinFeature, SpotFeature } from "../lib/api";

const PIN_RADIUS = 7;
/** A finger is wider than a pin. */
const REACH = 8;

/** What the layer inherits and the published types leave out. */
interface RendererInsides {
  _map?: LeafletMap & { _animatingZoom: boolean };
  _container: HTMLCanvasElement;
  _bounds?: { min: Point; max: Point; getSize(): Point };
  _update(): void;
}

export class SpotLayer extends Renderer {
  #spots: SpotFeature[] = [];
  #fresh = new Map<string, PinFeature>();
  #selected: string | null = null;
  #frame = 0;

  constructor() {
    super({ padding: 0.2, pane: "overlayPane" });
    onThemeChange(() => this.#redrawSoon());
    // The counts are drawn in a font that may arrive after them.
    void document.fonts.ready.then(() => this.#redrawSoon());
  }

  /** What the server shows here. */
  show(spots: SpotFeature[]): void {
    // Large ones last, so that they lie on top.
    this.#spots = [...spots].sort((one, other) => pinsOf(one) - pinsOf(other));
    this.#redrawSoon();
  }

  /** Pins that are newer than what the server has shown. */
  showFresh(pins: Iterable<PinFeature>): void {
    this.#fresh = new Map([...pins].map((pin) => [pin.properties.owner, pin]));
    this.#redrawSoon();
  }

  /** The pin whose card is open. */
  select(owner: string | null): void {
    this.#selected = owner;
    this.#redrawSoon();
  }

  /** The topmost spot under a point of the map's container. */
  at(where: Point): SpotFeature | null {
    const map = this.#insides._map;
    if (map === undefined) return null;
    const reached = (spot: SpotFeature): boolean =>
      map.latLngToContainerPoint(placeOf(spot)).distanceTo(where) <=
      Math.max(radiusOf(spot), PIN_RADIUS + REACH);
    const cluster = this.#spots.findLast((spot) => isCluster(spot) && reached(spot));
    return cluster ?? [...this.#fresh.values()].find(reached) ?? this.#spots.findLast(reached) ?? null;
  }

  /** What is shown within the box, those of most pins first. */
  within(bounds: LatLngBounds): SpotFeature[] {
    const all: SpotFeature[] = [
      ...this.#fresh.values(),
      ...this.#spots.filter((spot) => !this.#isFresh(spot)).reverse(),
    ];
    return all
      .filter((spot) => bounds.contains(placeOf(spot)))
      .sort((one, other) => pinsOf(other) - pinsOf(one));
  }

  // Called by Leaflet.
  _initContainer(): void {
    const canvas = document.createElement("canvas");
    canvas.className = "leaflet-zoom-animated spots";
    canvas.setAttribute("aria-hidden", "true");
    this.#insides._container = canvas;
  }

  // Called by Leaflet, when the map has moved.
  _update(): void {
    const { _map: map, _bounds: bounds, _container: canvas } = this.#insides;
    if (map?._animatingZoom && bounds !== undefined) return;
    (Renderer.prototype as unknown as RendererInsides)._update.call(this);
    const moved = this.#insides._bounds;
    if (moved !== undefined) DomUtil.setPosition(canvas, moved.min);
    this.#draw();
  }

  // Called by Leaflet.
  _destroyContainer(): void {
    cancelAnimationFrame(this.#frame);
    this.#insides._container.remove();
  }

  get #insides(): RendererInsides {
    return this as unknown as RendererInsides;
  }

  #isFresh(spot: SpotFeature): boolean {
    return spot.id !== undefined && this.#fresh.has(spot.id);
  }

  #redrawSoon(): void {
    if (this.#frame !== 0 || this.#insides._map === undefined) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw(): void {
    const { _map: map, _container: canvas, _bounds: bounds } = this.#insides;
    if (map === undefined || bounds === undefined) return;
    const size = bounds.getSize();
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = size.x * ratio;
    canvas.height = size.y * ratio;
    canvas.style.width = `${size.x}px`;
    canvas.style.height = `${size.y}px`;
    const context = canvas.getContext("2d");
    if (context === null) return;
    context.scale(ratio, ratio);
    context.translate(-bounds.min.x, -bounds.min.y);
    const pen = new Pen(context);
    const where = (spot: SpotFeature): Point => map.latLngToLayerPoint(placeOf(spot));
    const draw = (pin: PinFeature): void => pen.pin(where(pin), pin.properties.owner === this.#selected);
    const discs: Disc[] = [];
    for (const spot of this.#spots) {
      if (isCluster(spot)) {
        const { point_count: count, expansion_zoom: zoom } = spot.properties;
        discs.push({ at: where(spot), radius: radiusOf(spot), count, samePlace: zoom === null });
      } else if (!this.#isFresh(spot)) draw(spot);
    }
    for (const pin of this.#fresh.values()) {
      // Under a disc it would not be seen: it is counted there, if its owner was not before.
      const disc = discs.find(({ at, radius }) => at.distanceTo(where(pin)) <= radius);
      if (disc === undefined) draw(pin);
      else if (pin.properties.passes === 1) disc.count += 1;
    }
    for (const disc of discs) pen.cluster(disc);
  }
}

/** Whether several pins are shown as one. */
export function isCluster(spot: SpotFeature): spot is ClusterFeature {
  return "cluster" in spot.properties;
}

/** How many pins a spot stands for. */
export function pinsOf(spot: SpotFeature): number {
  return isCluster(spot) ? spot.properties.point_count : 1;
}

export function placeOf(spot: SpotFeature): LatLng {
  const [lon, lat] = spot.geometry.coordinates;
  return new LatLng(lat, lon);
}

/** Ten times as many pins make a disc a little larger, never so large that two overlap. */
function radiusOf(spot: SpotFeature): number {
  return isCluster(spot) ? Math.min(12 + 2.6 * Math.log10(spot.properties.point_count), 24) : PIN_RADIUS;
}

/** A cluster as it is drawn. */
interface Disc {
  at: Point;
  /** Pixels. */
  radius: number;
  count: number;
  /** Its pins share one place, and coming nearer would not part them. */
  samePlace: boolean;
}

class Pen {
  readonly #fill = colour("--pin");
  readonly #text = colour("--pin-ink");
  readonly #rim = colour("--pin-rim");

  constructor(private readonly context: CanvasRenderingContext2D) {
    context.textAlign = "center";
    context.textBaseline = "middle";
  }

  pin(at: Point, selected: boolean): void {
    if (selected) this.#disc(at, PIN_RADIUS + 7, this.#fill, 0.28);
    this.#disc(at, PIN_RADIUS, this.#rim);
    this.#disc(at, PIN_RADIUS - 2, this.#fill);
  }

  cluster({ at, radius, count, samePlace }: Disc): void {
    this.#disc(at, radius + 5, this.#fill, 0.22);
    this.#disc(at, radius, this.#fill);
    if (samePlace) {
      this.context.strokeStyle = this.#rim;
      this.context.lineWidth = 1.5;
      this.context.beginPath();
      this.context.arc(at.x, at.y, radius - 3, 0, 2 * Math.PI);
      this.context.stroke();
    }
    const label = compact(count);
    this.context.fillStyle = this.#text;
    this.context.font = `600 ${label.length > 4 ? 10 : 12}px "Inter Variable", system-ui, sans-serif`;
    this.context.fillText(label, at.x, at.y + 0.5);
  }

  #disc(at: Point, radius: number, fill: string, alpha = 1): void {
    this.context.globalAlpha = alpha;
    this.context.fillStyle = fill;
    this.context.beginPath();
    this.context.arc(at.x, at.y, radius, 0, 2 * Math.PI);
    this.context.fill();
    this.context.globalAlpha = 1;
  }
}
