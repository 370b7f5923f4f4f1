// A Leaflet layer that draws pins and clusters on one canvas, and finds the feature at a point. It
// draws at most once a frame, however many changes arrive.
import { DomUtil, LatLng, type LatLngBounds, type Map as LeafletMap, type Point, Renderer } from "leaflet";
import { compact } from "../lib/format";
import { colour, onThemeChange } from "../lib/theme";
import type { MapFeature, PinFeature } from "../lib/api";
import { isCluster, PIN_RADIUS, pinsOf, radiusOf } from "./features";

/** The distance from a pin, in pixels, at which a click still hits it: a finger is wider than a pin. */
const REACH = 8;

/** The members of `Renderer` that Leaflet's published types leave out. */
interface RendererInsides {
  _map?: LeafletMap & { _animatingZoom: boolean };
  _container: HTMLCanvasElement;
  _bounds?: { min: Point; max: Point; getSize(): Point };
  _update(): void;
}

export class FeatureLayer extends Renderer {
  #features: MapFeature[] = [];
  #fresh = new Map<string, PinFeature>();
  #selected: string | null = null;
  #frame = 0;

  constructor() {
    super({ padding: 0.2, pane: "overlayPane" });
    onThemeChange(() => this.#redrawSoon());
    // The font of the counts may load after they were drawn.
    void document.fonts.ready.then(() => this.#redrawSoon());
  }

  /** Shows the features that the server returned. */
  show(features: MapFeature[]): void {
    // Large clusters are drawn last, on top.
    this.#features = [...features].sort((one, other) => pinsOf(one) - pinsOf(other));
    this.#redrawSoon();
  }

  /** Shows pins that are newer than the server's last response. */
  showFresh(pins: Iterable<PinFeature>): void {
    this.#fresh = new Map([...pins].map((pin) => [pin.properties.owner, pin]));
    this.#redrawSoon();
  }

  /** Highlights the pin of an owner: its card is open. */
  select(owner: string | null): void {
    this.#selected = owner;
    this.#redrawSoon();
  }

  /** Returns the topmost feature at a point of the map's container. */
  at(where: Point): MapFeature | null {
    const map = this.#insides._map;
    if (map === undefined) return null;
    const reached = (feature: MapFeature): boolean =>
      map.latLngToContainerPoint(placeOf(feature)).distanceTo(where) <=
      Math.max(radiusOf(feature), PIN_RADIUS + REACH);
    const cluster = this.#features.findLast((feature) => isCluster(feature) && reached(feature));
    return cluster ?? [...this.#fresh.values()].find(reached) ?? this.#features.findLast(reached) ?? null;
  }

  /** Returns the features within the bounds, those with the most pins first. */
  within(bounds: LatLngBounds): MapFeature[] {
    const all: MapFeature[] = [
      ...this.#fresh.values(),
      ...this.#features.filter((feature) => !this.#isFresh(feature)).reverse(),
    ];
    return all
      .filter((feature) => bounds.contains(placeOf(feature)))
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

  #isFresh(feature: MapFeature): boolean {
    return feature.id !== undefined && this.#fresh.has(feature.id);
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
    const where = (feature: MapFeature): Point => map.latLngToLayerPoint(placeOf(feature));
    const draw = (pin: PinFeature): void => pen.pin(where(pin), pin.properties.owner === this.#selected);
    const discs: Disc[] = [];
    for (const feature of this.#features) {
      if (isCluster(feature)) {
        const { point_count: count, expansion_zoom: zoom } = feature.properties;
        discs.push({ at: where(feature), radius: radiusOf(feature), count, samePlace: zoom === null });
      } else if (!this.#isFresh(feature)) draw(feature);
    }
    for (const pin of this.#fresh.values()) {
      // A pin under a disc cannot be seen. The disc counts it, if the owner has no earlier pin.
      const disc = discs.find(({ at, radius }) => at.distanceTo(where(pin)) <= radius);
      if (disc === undefined) draw(pin);
      else if (pin.properties.passes === 1) disc.count += 1;
    }
    for (const disc of discs) pen.cluster(disc);
  }
}

export function placeOf(feature: MapFeature): LatLng {
  const [lon, lat] = feature.geometry.coordinates;
  return new LatLng(lat, lon);
}

/** The disc that is drawn for a cluster. */
interface Disc {
  at: Point;
  /** In pixels. */
  radius: number;
  count: number;
  /** Whether all pins share one place, so that zooming in does not separate them. */
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
