import { expect, test } from "vitest";
import { Failure } from "../lib/http";
import { endOf } from "./ending";

test("a submission that is not there or was deleted is the end, in the server's words", () => {
  expect(endOf(new Failure("The submission was deleted.", 410))).toEqual({
    title: "This submission was deleted",
    text: "The submission was deleted.",
  });
  for (const status of [400, 404])
    expect(endOf(new Failure("There is no such submission.", status))?.text).toContain(
      "There is no such submission. Check the address",
    );
});

test("a failure of the server or of the connection is not the end", () => {
  for (const status of [0, 429, 500, 502, 503]) expect(endOf(new Failure("", status))).toBeNull();
});
