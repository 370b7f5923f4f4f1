// Map tiles above the drawn world, if the server has the address of a tile server. The drawn world is
// visible until tiles are loaded, and wherever tiles are missing.
import { type Map as LeafletMap, tileLayer } from "leaflet";
import type { MapStyle } from "../lib/api";
import { el } from "../lib/dom";
import { get } from "../lib/http";

export async function showTiles(map: LeafletMap): Promise<void> {
  const { tiles } = await get<MapStyle>("/api/v1/map");
  if (tiles === null) return;
  map.createPane("tiles").classList.add("pane-tiles");
  // Leaflet expects HTML, and the attribution is text.
  const attribution = el("span", {}, tiles.attribution).outerHTML;
  // Some tile servers require the site's origin. They do not learn the page's address.
  tileLayer(tiles.url, {
    attribution,
    pane: "tiles",
    maxZoom: map.getMaxZoom(),
    noWrap: true,
    referrerPolicy: "origin",
  }).addTo(map);
}
