// The map that everybody looks at.
import "leaflet/dist/leaflet.css";
import "../style/map.css";
import { latLngBounds, Map as LeafletMap, popup, type Popup } from "leaflet";
import type { Challenge, FeatureCollection, PinFeature, SpotFeature, Stats } from "../lib/api";
import { Connection, header } from "../lib/chrome";
import { el } from "../lib/dom";
import { get } from "../lib/http";
import { LiveStream } from "../lib/live";
import { motion } from "../lib/theme";
import { type NamedPin, readView, writeView } from "./address";
import { Arrivals } from "./arrivals";
import { pinCard, pinList } from "./card";
import { InView } from "./in-view";
import { search } from "./search";
import { PinSource, serverZoom } from "./source";
import { isCluster, pinsOf, placeOf, SpotLayer } from "./spots";
import { showTiles } from "./tiles";
import { Totals } from "./totals";
import { World } from "./world";

/** Where places are: there is none in the Antarctic. */
const WORLD = latLngBounds([-66, -180], [84.5, 180]);
/** A pin that somebody looked for is shown from about this near. */
const NEAR_ZOOM = 6;
/** The search lies over the top of the map: a card keeps clear of it. */
const SEARCH_PX = 68;
const CREDITS =
  'Map: <a href="https://www.naturalearthdata.com">Natural Earth</a> · ' +
  'Places: <a href="https://www.geonames.org">GeoNames</a>, <a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>';

const mapBox = el("div", {
  class: "map",
  role: "application",
  "aria-label": "Map of pins. Arrow keys move it, plus and minus zoom. “In this view” lists what it shows.",
});
const title = el("p", { class: "challenge" }, "\u00a0");
const totals = new Totals();
const aside = el(
  "aside",
  { "aria-label": "About this challenge" },
  el("div", { class: "title" }, el("h1", {}, "Who passed muster"), title),
  el("a", { class: "button primary", href: "/submit" }, "Take part"),
  totals.element,
);
const connection = new Connection(() => {
  live.retryNow();
  source.changed(true);
});
// Leaflet measures its box when it is made: it must be on the page by then.
document.body.append(
  header("map"),
  el("main", {}, el("section", { class: "stage", "aria-label": "Map" }, mapBox, search(showPin)), aside),
  connection.element,
);

const map = new LeafletMap(mapBox, {
  maxBounds: WORLD,
  maxBoundsViscosity: 1,
  // The highest zoom at which the server clusters pins (`ZOOM_MAX`); it refuses a higher one.
  maxZoom: 16,
  zoomSnap: 0,
  zoomDelta: 1,
  wheelPxPerZoomLevel: 90,
  zoomAnimation: motion(),
  fadeAnimation: motion(),
});
map.attributionControl.setPrefix('<a href="https://leafletjs.com">Leaflet</a>').addAttribution(CREDITS);

const spots = new SpotLayer();
const world = new World(map);
const arrivals = new Arrivals(map, showPin);
const inView = new InView(
  () => spots.within(map.getBounds()),
  (lat, lon) => world.countryAt(lat, lon),
  (spot) => void open(spot, true),
);
aside.append(arrivals.element, inView.element);

let labels = new Map<string, string>();
/** Pins newer than what the server has shown, and when they came. */
const fresh = new Map<string, { pin: PinFeature; at: number }>();
let card: Popup | null = null;
/** The pin whose card is open. */
let opened: NamedPin | null = null;
/** The pin that the address names, until it is found. */
let sought: NamedPin | null = null;

const source = new PinSource(
  (found, askedAt) => {
    // An answer that was not kept from before: the server is there.
    if (askedAt > 0) connection.back();
    for (const [owner, { at }] of fresh) if (at < askedAt) fresh.delete(owner);
    spots.show(found);
    spots.showFresh([...fresh.values()].map(({ pin }) => pin));
    inView.changed();
    findSought(found);
  },
  (failure) => connection.lost(failure.message),
);

const live = new LiveStream("/api/v1/live", {
  open(resumed) {
    connection.back();
    if (!resumed) source.changed(true);
  },
  message(name, data) {
    if (name === "stats") totals.show(data as Stats);
    else if (name === "pins") arrived((data as FeatureCollection<PinFeature>).features);
    else if (name === "reset") source.changed(true);
  },
  lost: (failure) => connection.lost(failure.message),
});

start();

function start(): void {
  const fit = (): void => {
    map.invalidateSize({ pan: false });
    const least = map.getBoundsZoom(WORLD, true);
    // At once: while one zoom is animated, Leaflet takes no other.
    if (map.getZoom() < least) map.setView(map.getCenter(), least, { animate: false });
    map.setMinZoom(least);
  };
  map.setView([40, 8], 0, { animate: false });
  fit();
  map.on("resize", fit);
  go(location.hash);
  spots.addTo(map);
  map.on("moveend", moved);
  map.on("click", ({ containerPoint }) => {
    const spot = spots.at(containerPoint);
    if (spot !== null) void open(spot, false);
  });
  map.on("mousemove", ({ containerPoint }) => {
    mapBox.classList.toggle("over-spot", spots.at(containerPoint) !== null);
  });
  window.addEventListener("hashchange", () => go(location.hash));
  moved();
  // Without an answer the world that we draw will do.
  showTiles(map).catch(() => undefined);
  void get<Challenge>("/api/v1/challenge").then(
    (challenge) => {
      title.textContent = challenge.title;
      labels = new Map(challenge.answers.map(({ field, label }) => [field, label]));
      totals.name(labels);
    },
    () => {
      // The map shows without its title.
    },
  );
}

/** Goes to the view in an address. */
function go(hash: string): void {
  if (hash === address()) return;
  const view = readView(hash);
  if (view === null) return;
  sought = view.pin;
  map.setView([view.lat, view.lon], view.zoom, { animate: false });
}

function moved(): void {
  source.look({ bounds: map.getBounds(), zoom: map.getZoom() });
  history.replaceState(null, "", address());
  inView.changed();
}

function address(): string {
  const { lat, lng } = map.getCenter();
  return writeView({ zoom: map.getZoom(), lat, lon: lng, pin: sought ?? opened });
}

/** Pins that passed just now, or are gone. */
function arrived(pins: PinFeature[]): void {
  const there = pins.filter(({ properties }) => properties.passes > 0);
  for (const pin of there) fresh.set(pin.properties.owner, { pin, at: performance.now() });
  for (const pin of pins) if (pin.properties.passes === 0) fresh.delete(pin.properties.owner);
  spots.showFresh([...fresh.values()].map(({ pin }) => pin));
  inView.changed();
  arrivals.add(there);
  source.changed();
}

/** Opens a pin, or a cluster: by going nearer, or as a list when that would not help. */
async function open(spot: SpotFeature, byKeyboard: boolean): Promise<void> {
  if (!isCluster(spot)) {
    openCard(spot, byKeyboard);
    return;
  }
  const { expansion_zoom: zoom } = spot.properties;
  if (zoom !== null && zoom > serverZoom(map.getZoom())) {
    map.setView(placeOf(spot), Math.min(zoom, map.getMaxZoom()));
    return;
  }
  const [lon, lat] = spot.geometry.coordinates;
  try {
    const { features } = await get<FeatureCollection<PinFeature>>(`/api/v1/pins/at?lat=${lat}&lon=${lon}`);
    showCard(
      spot,
      pinList(features, Math.max(pinsOf(spot), features.length), (pin) => openCard(pin, byKeyboard)),
      null,
      byKeyboard,
    );
  } catch (error) {
    connection.lost((error as Error).message);
    source.changed(true);
  }
}

/** Goes to a pin and opens it. */
function showPin(pin: PinFeature): void {
  map.setView(placeOf(pin), Math.max(map.getZoom(), NEAR_ZOOM));
  openCard(pin, true);
}

function openCard(pin: PinFeature, focus: boolean): void {
  const [lon, lat] = pin.geometry.coordinates;
  showCard(pin, pinCard(pin.properties, labels), { lat, lon, owner: pin.properties.owner }, focus);
}

function showCard(spot: SpotFeature, content: HTMLElement, named: NamedPin | null, focus: boolean): void {
  const before = document.activeElement;
  card?.remove();
  const maxHeight = Math.min(340, mapBox.clientHeight - SEARCH_PX - 90);
  const shown = popup({
    minWidth: 240,
    maxWidth: 300,
    maxHeight,
    autoPanPaddingTopLeft: [24, SEARCH_PX],
    autoPanPaddingBottomRight: [24, 24],
    offset: [0, -4],
  })
    .setLatLng(placeOf(spot))
    .setContent(content)
    .on("remove", () => {
      if (card !== shown) return;
      card = null;
      remember(null);
      if (content.contains(document.activeElement) || document.activeElement === document.body) {
        (before instanceof HTMLElement && before.isConnected ? before : mapBox).focus();
      }
    });
  card = shown;
  shown.openOn(map);
  remember(named);
  // Leaflet hears Escape only while the map itself has the focus.
  content.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") shown.close();
  });
  if (focus) content.focus({ preventScroll: true });
}

function remember(pin: NamedPin | null): void {
  opened = pin;
  spots.select(pin?.owner ?? null);
  history.replaceState(null, "", address());
}

/** Opens the pin that the address names, once the map knows what is there. */
function findSought(found: SpotFeature[]): void {
  if (sought === null) return;
  const named = sought;
  sought = null;
  const pin = found.find((spot): spot is PinFeature => spot.id === named.owner);
  if (pin === undefined) void lookFor(named);
  else openCard(pin, false);
}

/** Opens a pin that stands where many do. */
async function lookFor({ lat, lon, owner }: NamedPin): Promise<void> {
  try {
    const { features } = await get<FeatureCollection<PinFeature>>(`/api/v1/pins/at?lat=${lat}&lon=${lon}`);
    const pin = features.find(({ id }) => id === owner);
    if (pin !== undefined) openCard(pin, false);
  } catch {
    // The view is right; only its card stays closed.
  }
}
