// Tiles over the world that we draw, if this server was given an address of some.
// Until they are there, and where there are none, the drawn world shows.
import { type Map as LeafletMap, tileLayer } from "leaflet";
import type { MapStyle } from "../lib/api";
import { el } from "../lib/dom";
import { get } from "../lib/http";

export async function showTiles(map: LeafletMap): Promise<void> {
  const { tiles } = await get<MapStyle>("/api/v1/map");
  if (tiles === null) return;
  map.createPane("tiles").classList.add("pane-tiles");
  // Leaflet takes markup there, and this is text.
  const attribution = el("span", {}, tiles.attribution).outerHTML;
  // Some servers want to know which site asks; which page, they are not told.
  tileLayer(tiles.url, {
    attribution,
    pane: "tiles",
    maxZoom: map.getMaxZoom(),
    noWrap: true,
    referrerPolicy: "origin",
  }).addTo(map);
}
