import { afterEach, expect, test, vi } from "vitest";
import type { Webhook } from "../lib/api";
import { counts, getWebhooks } from "./webhooks";

const hook: Webhook = {
  name: "ops",
  form: "json",
  kinds: ["passed"],
  host: "hooks.example.org",
  trouble: null,
  waiting: 0,
  oldest_waiting_at: null,
  next_try_at: null,
  delivered: 1,
  given_up: 0,
  last: null,
};

afterEach(() => vi.unstubAllGlobals());

test("the numbers of a webhook are said in words", () => {
  expect(counts(hook)).toBe("1 message delivered");
  expect(counts({ ...hook, waiting: 2, given_up: 1 })).toBe(
    "1 message delivered; 2 wait; 1 was given up after three days",
  );
});

test("a server that delivers no webhooks has an empty list", async () => {
  vi.stubGlobal("fetch", () => Promise.resolve(new Response("{}", { status: 404 })));
  expect(await getWebhooks("token")).toEqual([]);
  vi.stubGlobal("fetch", () => Promise.resolve(new Response("{}", { status: 503 })));
  await expect(getWebhooks("token")).rejects.toMatchObject({ status: 503 });
});
