// Who passed last: a list of fixed length, so that the page does not grow.
import type { PinFeature } from "../lib/api";

/** The number of rows. */
export const ROWS = 12;

/** The pins that passed last, newest first. */
export class Newest {
  #pins: PinFeature[] = [];

  get pins(): readonly PinFeature[] {
    return this.#pins;
  }

  /** Replaces the list by the server's. */
  reset(pins: PinFeature[]): void {
    this.#pins = [];
    this.change(pins);
  }

  /** Applies pins that changed. Returns true if a listed pin is gone, so that others may follow at the end. */
  change(pins: PinFeature[]): boolean {
    const byOwner = new Map(this.#pins.map((pin) => [pin.properties.owner, pin]));
    let gone = false;
    for (const pin of pins) {
      const { owner, passes } = pin.properties;
      if (passes > 0) byOwner.set(owner, pin);
      else gone = byOwner.delete(owner) || gone;
    }
    this.#pins = [...byOwner.values()].sort(latestFirst).slice(0, ROWS);
    return gone;
  }
}

function latestFirst(one: PinFeature, other: PinFeature): number {
  return Date.parse(other.properties.passed_at) - Date.parse(one.properties.passed_at);
}
