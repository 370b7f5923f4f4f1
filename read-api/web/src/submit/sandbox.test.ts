import { expect, test } from "vitest";
import { sandboxSentences } from "./sandbox";
import { challenge } from "./testing";

test("the sandbox is told with its limits and its writable places", () => {
  const [limits, places, time] = sandboxSentences(challenge);
  expect(limits).toContain("256 MiB of memory");
  expect(limits).toContain("0.5 of a processor, and 128 processes");
  expect(places).toContain("to its volumes and to /tmp, /run.");
  expect(time).toBe("It has 30 s from its start until it answers on port 80, and 10 s for each answer.");
});

test("a writable sandbox is told as one", () => {
  const writable = { ...challenge, sandbox: { ...challenge.sandbox, writable: null } };
  expect(sandboxSentences(writable)[1]).toBe("It may write everywhere in its container.");
});
