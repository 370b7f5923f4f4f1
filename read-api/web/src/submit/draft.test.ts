import { beforeEach, expect, test, vi } from "vitest";
import { forgetDraft, keyFor, saveDraft, savedDraft } from "./draft";

const ada = { name: "Ada", location: "London", images: ["ada/app"] };

beforeEach(() => {
  const items = new Map<string, string>();
  vi.stubGlobal("sessionStorage", {
    getItem: (name: string) => items.get(name) ?? null,
    setItem: (name: string, value: string) => items.set(name, value),
    removeItem: (name: string) => items.delete(name),
  });
});

test("a draft is kept until it is accepted", () => {
  expect(savedDraft()).toBeNull();
  saveDraft(ada);
  expect(savedDraft()).toEqual(ada);
  forgetDraft();
  expect(savedDraft()).toBeNull();
});

test("the same entry has the same key until it is accepted, and another entry another", () => {
  const key = keyFor(ada);
  expect(key).toMatch(/^[0-9a-f]{32}$/);
  expect(keyFor({ ...ada })).toBe(key);
  expect(keyFor({ ...ada, name: "Grace" })).not.toBe(key);
  const again = keyFor(ada);
  forgetDraft();
  expect(keyFor(ada)).not.toBe(again);
});

test("without a store the page works and forgets", () => {
  vi.stubGlobal("sessionStorage", undefined);
  saveDraft(ada);
  expect(savedDraft()).toBeNull();
  expect(keyFor(ada)).not.toBe(keyFor(ada));
});
