import { expect, test } from "vitest";
import { Failure, failureOf } from "./http";

test("a problem document becomes a failure", async () => {
  const errors = [{ field: "name", message: "A name has 1 to 50 characters that can be seen." }];
  const body = JSON.stringify({ detail: "Too many requests.", errors });
  const failure = await failureOf(new Response(body, { status: 429, headers: { "Retry-After": "3" } }));
  expect(failure).toMatchObject({ message: "Too many requests.", status: 429, errors, retryAfterMs: 3000 });
});

test("a response that is no problem document is reported by its status", async () => {
  const failure = await failureOf(new Response("<h1>Bad gateway</h1>", { status: 502 }));
  expect(failure).toMatchObject({
    message: "The server answered with status 502.",
    errors: [],
    retryAfterMs: null,
  });
});

test("only a failure of the server or of the connection is transient", () => {
  const transient = (status: number): boolean => new Failure("", status).isTransient;
  expect([0, 400, 404, 422, 429, 500, 503].map(transient)).toEqual([
    true,
    false,
    false,
    false,
    true,
    true,
    true,
  ]);
});
