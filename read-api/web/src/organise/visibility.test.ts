import { afterEach, expect, test, vi } from "vitest";
import { changeVisibility, submissionId } from "./visibility";

test("a submission is named by its id or by its page's address, and an owner is neither", () => {
  const id = "3f0e6c1e-6a43-4b55-9a4e-0d0c6c1f9b11";
  expect(submissionId(id)).toBe(id);
  expect(submissionId(`https://muster.example/s/${id}`)).toBe(id);
  expect(submissionId(`/s/${id}/`)).toBe(id);
  expect(submissionId("docker.io/ada")).toBeNull();
  expect(submissionId(`docker.io/x${id}`)).toBeNull();
});

afterEach(() => vi.unstubAllGlobals());

/** Lets the server give these answers, one after the other. */
function answers(...all: [status: number, body: string][]): void {
  vi.stubGlobal("fetch", () => {
    const [status, body] = all.shift() ?? [500, ""];
    return Promise.resolve(new Response(body, { status }));
  });
}

const passes = [1, 2, 3].map((n) => JSON.stringify({ stream: `submission-${n}` })).join("\n");

test("all submissions of an owner that passed are hidden", async () => {
  answers([200, passes], [200, "{}"], [200, "{}"], [200, "{}"]);
  expect(await changeVisibility("hide", "docker.io/ada", {}, "token")).toBe(3);
});

test("a failure in the middle says how many are done", async () => {
  answers([200, passes], [200, "{}"], [200, "{}"], [503, JSON.stringify({ detail: "The log is away." })]);
  await expect(changeVisibility("hide", "docker.io/ada", {}, "token")).rejects.toMatchObject({
    message: "2 of 3 submissions hidden, then: The log is away.",
    status: 503,
  });
});

test("a list that was cut short hides nothing and says so", async () => {
  for (const end of ['{"stream":"subm', "null", '{"problem":{"detail":"Cut short.","status":503}}']) {
    answers([200, `${passes}\n${end}`]);
    const failed = changeVisibility("hide", "docker.io/ada", {}, "token");
    await expect(failed).rejects.toThrow(/cut short/i);
  }
});
