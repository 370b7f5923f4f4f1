import { expect, test } from "vitest";
import { submissionId } from "./visibility";

test("a submission is named by its id or by its page's address, and an owner is neither", () => {
  const id = "3f0e6c1e-6a43-4b55-9a4e-0d0c6c1f9b11";
  expect(submissionId(id)).toBe(id);
  expect(submissionId(`https://muster.example/s/${id}`)).toBe(id);
  expect(submissionId(`/s/${id}/`)).toBe(id);
  expect(submissionId("docker.io/ada")).toBeNull();
  expect(submissionId(`docker.io/x${id}`)).toBeNull();
});
