import { expect, test } from "vitest";
import { EventStreamParser } from "./live";

function parse(...chunks: string[]): unknown[] {
  const events: unknown[] = [];
  const parser = new EventStreamParser((...event) => events.push(event));
  chunks.forEach((chunk) => parser.push(chunk));
  return events;
}

test("an event has a name, data and an id", () => {
  expect(parse("id: 7\nevent: pins\ndata: {}\n\n")).toEqual([["pins", "{}", "7"]]);
  expect(parse("data: 1\n\ndata:2\n\n")).toEqual([
    ["message", "1", null],
    ["message", "2", null],
  ]);
});

test("chunks may be cut anywhere", () => {
  const text = "event: stats\ndata: a\ndata: b\n\n";
  expect(parse(...Array.from(text))).toEqual([["stats", "a\nb", null]]);
});

test("heartbeats and unfinished events are no events", () => {
  expect(parse(": heartbeat\n\n", "event: stats\n\n", "data: cut off")).toEqual([]);
});
