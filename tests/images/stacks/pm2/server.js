const { createServer } = require("node:http");
const { readFileSync } = require("node:fs");
const server = createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(readFileSync("/srv/config.json"));
});
server.listen(80);
