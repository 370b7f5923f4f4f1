// The screen of a room: how many passed, who passed last, and how to take part. It is read from afar and runs for hours, so
// everything on it has a fixed number of parts.
import "leaflet/dist/leaflet.css";
import "../style/room.css";
import { latLngBounds, Map as LeafletMap } from "leaflet";
import type { Challenge, FeatureCollection, PinFeature, Stats, Status } from "../lib/api";
import { ConnectionNotice, mark } from "../lib/chrome";
import { el, foreign, setChildren, setText } from "../lib/dom";
import { compact, dateTime, number, placeName } from "../lib/format";
import { get } from "../lib/http";
import { LiveStream } from "../lib/live";
import { throttled } from "../lib/throttle";
import { atVenue, claimQuery } from "../lib/venue";
import { credits } from "../map/credits";
import { FeatureLayer } from "../map/feature-layer";
import { PinSource } from "../map/source";
import { World } from "../map/world";
import { qrPicture } from "../status/take-along";
import { Newest } from "./newest";

const WORLD = latLngBounds([-66, -180], [84.5, 180]);
/** The zoom around the venue: a country and its neighbours. */
const ZOOM = 4.4;
const RETRY_MS = 5000;
/** The pause after which the list of the newest is read again, if one of them is gone. */
const REREAD_MS = 2000;

const COUNTS: [Status[], string][] = [
  [["submitted", "verifying"], "waiting"],
  [["failed"], "not yet"],
];

const name = decodeURIComponent(location.pathname.split("/").at(-1) ?? "");
const code = new URLSearchParams(location.hash.slice(1)).get("code");
const link = `${location.origin}/${claimQuery({ venue: name, code })}`;

const title = el("h1", {}, "\u00a0");
const where = el("p", { class: "where" }, "\u00a0");
const passed = el("strong", {}, "–");
const counts = el("dl", { class: "counts" });
const list = el("ol", { class: "newest" });
const none = el("p", { class: "none" }, "Nobody has passed yet. Be the first.");
const mapBox = el("div", { class: "map", "aria-hidden": "true" });
const connection = new ConnectionNotice(() => live.retryNow());

document.title = `${name} · Muster`;
document.body.append(
  el(
    "main",
    {},
    el(
      "section",
      { class: "stage", "aria-label": "Map" },
      mapBox,
      el(
        "div",
        { class: "join" },
        qrPicture(link),
        el(
          "div",
          {},
          el("h2", {}, "Take part"),
          el("p", {}, el("a", { href: link }, location.host)),
          code !== null && el("p", {}, "Code ", el("strong", { class: "code" }, code)),
        ),
      ),
      el("p", { class: "credits" }, credits()),
    ),
    el(
      "section",
      { class: "tally", "aria-label": "Totals" },
      el("div", { class: "title" }, mark(), el("div", {}, title, where)),
      el("p", { class: "headline" }, passed, " ", el("span", {}, "passed")),
      counts,
    ),
    el("section", { class: "last", "aria-label": "Passed last" }, el("h2", {}, "Passed last"), list, none),
  ),
  connection.element,
);

const map = new LeafletMap(mapBox, {
  maxBounds: WORLD,
  zoomSnap: 0,
  zoomControl: false,
  attributionControl: false,
  keyboard: false,
  dragging: false,
  scrollWheelZoom: false,
  doubleClickZoom: false,
  touchZoom: false,
  boxZoom: false,
  zoomAnimation: false,
  fadeAnimation: false,
});
const layer = new FeatureLayer();
const newest = new Newest();
/** The pins that arrived since the list of the newest was asked for. The answer may be older than they are. */
let arrived: Newest | null = null;
/** The owners that stand in the list, so that a new row can be seen. */
let drawn = new Set<string>();
let stats: Stats | null = null;

const source = new PinSource(
  (features) => layer.show(features),
  () => {
    // The stream tells that the server is gone, and the source tries again.
  },
  name,
);

const drawSoon = throttled(250, () => draw());
let rereading: ReturnType<typeof setTimeout> | undefined;

const live = new LiveStream(atVenue("/api/v1/live", name), {
  open(resumed) {
    connection.hide();
    if (!resumed) reread();
  },
  message(kind, data) {
    if (kind === "stats") stats = data as Stats;
    else if (kind === "pins") {
      const { features } = data as FeatureCollection<PinFeature>;
      arrived?.change(features);
      if (newest.change(features)) rereadSoon();
      source.onChange();
    } else if (kind === "reset") reread();
    drawSoon();
  },
  lost: (failure) => connection.showLost(failure.message),
  refused: (failure) => connection.showLost(failure.message),
});

start();

function start(): void {
  map.setView([30, 8], 1, { animate: false });
  layer.addTo(map);
  new World(map);
  map.on("resize", look);
  look();
  void describe();
  keepAwake();
  document.addEventListener("visibilitychange", keepAwake);
}

function look(): void {
  map.invalidateSize({ pan: false });
  source.showScreen({ bounds: map.getBounds(), zoom: map.getZoom() });
}

/** Reads the venue's title and position. They stay as they are for the evening. */
async function describe(): Promise<void> {
  try {
    const { venues } = await get<Challenge>("/api/v1/challenge");
    const venue = venues.find((one) => one.name === name);
    if (venue === undefined) return;
    setText(title, venue.title);
    setText(where, venue.location);
    document.title = `${venue.title} · Muster`;
    map.setView([venue.position.lat, venue.position.lon], ZOOM, { animate: false });
    look();
  } catch {
    setTimeout(() => void describe(), RETRY_MS);
  }
}

/** Reads everything that the stream does not repeat. */
function reread(): void {
  source.onChange(true);
  void readNewest();
}

function rereadSoon(): void {
  rereading ??= setTimeout(() => {
    rereading = undefined;
    void readNewest();
  }, REREAD_MS);
}

async function readNewest(): Promise<void> {
  const since = new Newest();
  arrived = since;
  try {
    const { features } = await get<FeatureCollection<PinFeature>>(atVenue("/api/v1/pins/newest", name));
    // A later request has begun, and its answer is newer.
    if (arrived !== since) return;
    newest.reset([...features, ...since.pins]);
    drawSoon();
  } catch {
    rereadSoon();
  }
}

function draw(): void {
  if (stats !== null) {
    const { submissions } = stats;
    setText(passed, number(submissions.passed ?? 0));
    setChildren(
      counts,
      ...COUNTS.map(([states, label]) => {
        const sum = states.reduce((all, state) => all + (submissions[state] ?? 0), 0);
        return el("div", {}, el("dt", {}, label), el("dd", {}, compact(sum)));
      }),
    );
  }
  none.hidden = newest.pins.length > 0 || stats === null;
  setChildren(
    list,
    ...newest.pins.map(({ properties: { owner, name: who, city, country, passed_at: at } }) =>
      el(
        "li",
        { class: drawn.size > 0 && !drawn.has(owner) && "new" },
        el("span", { class: "who" }, foreign(who)),
        el("span", { class: "city" }, foreign(placeName(city, country))),
        el("time", { datetime: at }, dateTime(at)),
      ),
    ),
  );
  drawn = new Set(newest.pins.map(({ properties }) => properties.owner));
}

/** Asks the browser to leave the screen on. It forgets that when another page is in front. */
function keepAwake(): void {
  // Without TLS a browser does not offer it, whatever its types say.
  const lock = (navigator as Partial<Navigator>).wakeLock;
  if (document.visibilityState === "visible") lock?.request("screen").catch(() => undefined);
}
