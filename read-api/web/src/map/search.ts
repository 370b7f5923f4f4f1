// The search field of the map.
import type { FeatureCollection, PinFeature } from "../lib/api";
import { combobox, type Option } from "../lib/combobox";
import { el } from "../lib/dom";
import { placeName } from "../lib/format";
import { get } from "../lib/http";
import { atVenue } from "../lib/venue";

interface Found extends Option {
  pin: PinFeature;
}

/** Returns a field that searches for pins by the beginning of a name, a last name or a city. */
export function search(choose: (pin: PinFeature) => void, venue: string | null): HTMLElement {
  const input = el("input", {
    id: "search",
    type: "search",
    placeholder: "Find a name or a place",
    maxlength: 100,
  });
  const list = combobox<Found>(input, {
    nothing: "No pin has a name or a city that begins so.",
    async complete(typed, signal) {
      const path = atVenue(`/api/v1/pins/search?q=${encodeURIComponent(typed)}`, venue);
      const { features } = await get<FeatureCollection<PinFeature>>(path, { signal });
      return features.map((pin) => ({
        pin,
        label: pin.properties.name,
        detail: placeName(pin.properties.city, pin.properties.country),
      }));
    },
    choose({ pin }) {
      input.value = pin.properties.name;
      choose(pin);
    },
  });
  return el(
    "search",
    { class: "search" },
    el("label", { for: "search", class: "visually-hidden" }, "Find a name or a place"),
    input,
    list,
  );
}
