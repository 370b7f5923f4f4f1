import { expect, test } from "vitest";
import names from "../../../../domain/testdata/familiar_names.json";
import { familiar } from "./image-name";

test.each(names)("$full is $familiar", ({ full, familiar: expected }) => {
  expect(familiar(full)).toBe(expected);
});
