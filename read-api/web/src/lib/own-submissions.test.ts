import { beforeEach, expect, test, vi } from "vitest";
import { forgetAllOwn, forgetOwn, keepOwn, ownSubmissions } from "./own-submissions";

const items = new Map<string, string>();
const sent = (id: string) => ({ id, name: "Ada", sentAt: "2026-03-21T12:00:00Z" });

beforeEach(() => {
  items.clear();
  vi.stubGlobal("localStorage", {
    getItem: (name: string) => items.get(name) ?? null,
    setItem: (name: string, value: string) => items.set(name, value),
    removeItem: (name: string) => items.delete(name),
  });
});

test("submissions are kept, newest first and each once, until they are forgotten", () => {
  expect(ownSubmissions()).toEqual([]);
  for (const id of ["a", "b", "a"]) keepOwn(sent(id));
  expect(ownSubmissions()).toEqual([sent("a"), sent("b")]);
  forgetOwn("a");
  expect(ownSubmissions()).toEqual([sent("b")]);
  forgetAllOwn();
  expect(items.size).toBe(0);
});

test("the newest twenty are kept", () => {
  for (let index = 0; index < 30; index += 1) keepOwn(sent(`${index}`));
  expect(ownSubmissions().map(({ id }) => id)).toEqual(
    Array.from({ length: 20 }, (_, index) => `${29 - index}`),
  );
});

test("whatever else is found in the store is passed over", () => {
  for (const text of ["{", "null", "3", '{"id":"a"}']) {
    items.set("muster.own", text);
    expect(ownSubmissions()).toEqual([]);
  }
  items.set("muster.own", JSON.stringify([null, { id: 1 }, { ...sent("x"), sentAt: "soon" }, sent("b")]));
  expect(ownSubmissions()).toEqual([sent("b")]);
});

test("without a store nothing is kept", () => {
  vi.stubGlobal("localStorage", undefined);
  keepOwn(sent("a"));
  expect(ownSubmissions()).toEqual([]);
});
