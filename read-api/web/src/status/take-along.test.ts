import jsQR from "jsqr";
import { expect, test } from "vitest";
import { qrModules } from "./take-along";

const SCALE = 4;

test.each([
  "http://127.0.0.1:8080/s/0196a0b1-7e4c-7d1f-9a51-0123456789ab",
  `https://${"long-".repeat(20)}name.example/s/0196a0b1-7e4c-7d1f-9a51-0123456789ab`,
])("a phone reads the address from the picture: %s", (url) => {
  const { modules, size } = qrModules(url);
  const side = size * SCALE;
  const pixels = new Uint8ClampedArray(side * side * 4).fill(255);
  for (const [x, y] of modules)
    for (let dy = 0; dy < SCALE; dy += 1)
      for (let dx = 0; dx < SCALE; dx += 1) {
        const at = ((y * SCALE + dy) * side + x * SCALE + dx) * 4;
        pixels.fill(0, at, at + 3);
      }
  expect(jsQR(pixels, side, side)?.data).toBe(url);
});
