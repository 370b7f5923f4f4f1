const express = require("express");
const config = require("./config.json");

const app = express();
app.get("/getconfig", (request, response) => response.json(config));
app.listen(80, "0.0.0.0", () => console.log("listening on port 80"));
