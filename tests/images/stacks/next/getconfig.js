const { readFileSync } = require("node:fs");

export default function handler(request, response) {
  response.setHeader("Content-Type", "application/json");
  response.end(readFileSync("/srv/config.json"));
}
