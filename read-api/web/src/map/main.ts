// The map page.
import "leaflet/dist/leaflet.css";
import "../style/map.css";
import { latLngBounds, Map as LeafletMap, popup, type Popup } from "leaflet";
import type { Challenge, FeatureCollection, PinFeature, MapFeature, Stats } from "../lib/api";
import { ConnectionNotice, header } from "../lib/chrome";
import { el, setChildren } from "../lib/dom";
import { get } from "../lib/http";
import { periodSentence } from "../lib/period";
import { LiveStream } from "../lib/live";
import { motion } from "../lib/theme";
import { atVenue, claimQuery, venueClaim } from "../lib/venue";
import { type NamedPin, readView, writeView } from "./view-address";
import { Arrivals } from "./arrivals";
import { pinCard, pinList } from "./card";
import { credits } from "./credits";
import { InView } from "./in-view";
import { search } from "./search";
import { PinSource, serverZoom } from "./source";
import { FeatureLayer, placeOf } from "./feature-layer";
import { isCluster, pinsOf } from "./features";
import { showTiles } from "./tiles";
import { Totals } from "./totals";
import { World } from "./world";

/** The bounds of the map. No place is in the Antarctic. */
const WORLD = latLngBounds([-66, -180], [84.5, 180]);
/** The lowest zoom at which a pin from the search is shown. */
const NEAR_ZOOM = 6;
/** The height of the search field over the map, which cards must not cover. */
const SEARCH_PX = 68;

/** The venue that the address names. */
const claim = venueClaim(location.search);

const mapBox = el("div", {
  class: "map",
  role: "application",
  "aria-label": "Map of pins. Arrow keys move it, plus and minus zoom. “In this view” lists what it shows.",
});
const title = el("p", { class: "challenge" }, "\u00a0");
const period = el("p", { class: "challenge" });
const only = el("p", { class: "challenge only" });
const totals = new Totals();
const aside = el(
  "aside",
  { "aria-label": "About this challenge" },
  el("div", { class: "title" }, el("h1", {}, "Who passed muster"), title, period, only),
  el("a", { class: "button primary", href: `/submit${claimQuery(claim)}` }, "Take part"),
  totals.element,
);
const connection = new ConnectionNotice(() => {
  live.retryNow();
  source.onChange(true);
});
// Leaflet measures its box when the map is created, so the box must be on the page.
document.body.append(
  header("map"),
  el(
    "main",
    {},
    el("section", { class: "stage", "aria-label": "Map" }, mapBox, search(showPin, claim.venue)),
    aside,
  ),
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
map.attributionControl
  .setPrefix('<a href="https://leafletjs.com">Leaflet</a>')
  .addAttribution(credits().innerHTML);

const layer = new FeatureLayer();
const world = new World(map);
const arrivals = new Arrivals(map, showPin);
const inView = new InView(
  () => layer.within(map.getBounds()),
  (lat, lon) => world.countryAt(lat, lon),
  (feature) => void open(feature, true),
);
aside.append(arrivals.element, inView.element);

let labels = new Map<string, string>();
/** Pins that are newer than the server's last response, and when they arrived. */
const fresh = new Map<string, { pin: PinFeature; at: number }>();
let card: Popup | null = null;
/** The pin whose card is open. */
let opened: NamedPin | null = null;
/** The pin that the address names, until it is found. */
let sought: NamedPin | null = null;

const source = new PinSource(
  (found, requestedAt) => {
    // The features are not from the cache, so the server responds.
    if (requestedAt > 0) connection.hide();
    for (const [owner, { at }] of fresh) if (at < requestedAt) fresh.delete(owner);
    layer.show(found);
    layer.showFresh([...fresh.values()].map(({ pin }) => pin));
    inView.update();
    findSought(found);
  },
  (failure) => connection.showLost(failure.message),
  claim.venue,
);

const live = new LiveStream(atVenue("/api/v1/live", claim.venue), {
  open(resumed) {
    connection.hide();
    if (!resumed) source.onChange(true);
  },
  message(name, data) {
    if (name === "stats") totals.show(data as Stats);
    else if (name === "pins") onPins((data as FeatureCollection<PinFeature>).features);
    else if (name === "reset") source.onChange(true);
  },
  lost: (failure) => connection.showLost(failure.message),
});

start();

function start(): void {
  const fit = (): void => {
    map.invalidateSize({ pan: false });
    const least = map.getBoundsZoom(WORLD, true);
    // Without animation: Leaflet ignores a zoom while another is animated.
    if (map.getZoom() < least) map.setView(map.getCenter(), least, { animate: false });
    map.setMinZoom(least);
  };
  map.setView([40, 8], 0, { animate: false });
  fit();
  map.on("resize", fit);
  go(location.hash);
  layer.addTo(map);
  map.on("moveend", onMove);
  map.on("click", ({ containerPoint }) => {
    const feature = layer.at(containerPoint);
    if (feature !== null) void open(feature, false);
  });
  map.on("mousemove", ({ containerPoint }) => {
    mapBox.classList.toggle("over-spot", layer.at(containerPoint) !== null);
  });
  window.addEventListener("hashchange", () => go(location.hash));
  onMove();
  // If the request fails, the drawn world is enough.
  showTiles(map).catch(() => undefined);
  void get<Challenge>("/api/v1/challenge").then(
    (challenge) => {
      title.textContent = challenge.title;
      showVenue(challenge);
      setChildren(period, periodSentence(challenge));
      labels = new Map(challenge.answers.map(({ field, label }) => [field, label]));
      totals.setLabels(labels);
    },
    () => {
      // The map works without the challenge's title.
    },
  );
}

/** Moves the map to the view in an address. */
function go(hash: string): void {
  if (hash === address()) return;
  const view = readView(hash);
  if (view === null) return;
  sought = view.pin;
  map.setView([view.lat, view.lon], view.zoom, { animate: false });
}

function onMove(): void {
  source.showScreen({ bounds: map.getBounds(), zoom: map.getZoom() });
  history.replaceState(null, "", address());
  inView.update();
}

function address(): string {
  const { lat, lng } = map.getCenter();
  return writeView({ zoom: map.getZoom(), lat, lon: lng, pin: sought ?? opened });
}

/** Shows pins that have just passed, and removes pins that are gone. */
function onPins(pins: PinFeature[]): void {
  const there = pins.filter(({ properties }) => properties.passes > 0);
  for (const pin of there) fresh.set(pin.properties.owner, { pin, at: performance.now() });
  for (const pin of pins) if (pin.properties.passes === 0) fresh.delete(pin.properties.owner);
  layer.showFresh([...fresh.values()].map(({ pin }) => pin));
  inView.update();
  arrivals.add(there);
  source.onChange();
}

/** Opens a pin or a cluster. A cluster is zoomed in on, or shown as a list if its pins share one place. */
async function open(feature: MapFeature, byKeyboard: boolean): Promise<void> {
  if (!isCluster(feature)) {
    openCard(feature, byKeyboard);
    return;
  }
  const { expansion_zoom: zoom } = feature.properties;
  if (zoom !== null && zoom > serverZoom(map.getZoom())) {
    map.setView(placeOf(feature), Math.min(zoom, map.getMaxZoom()));
    return;
  }
  const [lon, lat] = feature.geometry.coordinates;
  try {
    const { features } = await get<FeatureCollection<PinFeature>>(pinsAt(lat, lon));
    showCard(
      feature,
      pinList(features, Math.max(pinsOf(feature), features.length), (pin) => openCard(pin, byKeyboard)),
      null,
      byKeyboard,
    );
  } catch (error) {
    connection.showLost((error as Error).message);
    source.onChange(true);
  }
}

function pinsAt(lat: number, lon: number): string {
  return atVenue(`/api/v1/pins/at?lat=${lat}&lon=${lon}`, claim.venue);
}

/** Says which venue's pins are shown, and leads to all. */
function showVenue({ venues }: Challenge): void {
  if (claim.venue === null) return;
  const venue = venues.find((one) => one.name === claim.venue);
  const what =
    venue === undefined ? `There is no venue “${claim.venue}”. ` : `Only ${venue.title}, ${venue.location}. `;
  setChildren(only, what, el("a", { href: "/" }, "Show all"));
}

/** Moves the map to a pin and opens its card. */
function showPin(pin: PinFeature): void {
  map.setView(placeOf(pin), Math.max(map.getZoom(), NEAR_ZOOM));
  openCard(pin, true);
}

function openCard(pin: PinFeature, focus: boolean): void {
  const [lon, lat] = pin.geometry.coordinates;
  showCard(pin, pinCard(pin.properties, labels), { lat, lon, owner: pin.properties.owner }, focus);
}

function showCard(feature: MapFeature, content: HTMLElement, named: NamedPin | null, focus: boolean): void {
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
    .setLatLng(placeOf(feature))
    .setContent(content)
    .on("remove", () => {
      if (card !== shown) return;
      card = null;
      setOpenedPin(null);
      if (content.contains(document.activeElement) || document.activeElement === document.body) {
        (before instanceof HTMLElement && before.isConnected ? before : mapBox).focus();
      }
    });
  card = shown;
  shown.openOn(map);
  setOpenedPin(named);
  // Leaflet handles Escape only while the map itself has the focus.
  content.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") shown.close();
  });
  if (focus) content.focus({ preventScroll: true });
}

function setOpenedPin(pin: NamedPin | null): void {
  opened = pin;
  layer.select(pin?.owner ?? null);
  history.replaceState(null, "", address());
}

/** Opens the pin that the address names, when the features around it are loaded. */
function findSought(found: MapFeature[]): void {
  if (sought === null) return;
  const named = sought;
  sought = null;
  const pin = found.find((feature): feature is PinFeature => feature.id === named.owner);
  if (pin === undefined) void openClusteredPin(named);
  else openCard(pin, false);
}

/** Opens a pin that is part of a cluster. */
async function openClusteredPin({ lat, lon, owner }: NamedPin): Promise<void> {
  try {
    const { features } = await get<FeatureCollection<PinFeature>>(pinsAt(lat, lon));
    const pin = features.find(({ id }) => id === owner);
    if (pin !== undefined) openCard(pin, false);
  } catch {
    // The view is right, and only the card stays closed.
  }
}
