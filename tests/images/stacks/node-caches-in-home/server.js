const { createServer } = require("node:http");
const { readFileSync } = require("node:fs");
require("node:fs").mkdirSync(process.env.HOME + "/.cache", { recursive: true });
const server = createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(readFileSync("/srv/config.json"));
});
server.listen(80);
