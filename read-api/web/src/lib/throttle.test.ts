import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { throttled } from "./throttle";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  vi.stubGlobal("requestAnimationFrame", (draw: () => void) => setTimeout(draw, 16));
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("many calls draw once, at the next frame", () => {
  const draw = vi.fn();
  const drawSoon = throttled(200, draw);
  for (let call = 0; call < 100; call += 1) drawSoon();
  expect(draw).not.toHaveBeenCalled();
  vi.advanceTimersByTime(20);
  expect(draw).toHaveBeenCalledOnce();
});

test("calls at each millisecond draw once in the interval, and the last call is not lost", () => {
  const draw = vi.fn();
  const drawSoon = throttled(200, draw);
  for (let ms = 0; ms < 1000; ms += 1) {
    drawSoon();
    vi.advanceTimersByTime(1);
  }
  expect(draw.mock.calls.length).toBeLessThanOrEqual(5);
  const before = draw.mock.calls.length;
  vi.advanceTimersByTime(1000);
  expect(draw).toHaveBeenCalledTimes(before + 1);
});
