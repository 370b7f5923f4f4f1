module.exports = { rewrites: async () => [{ source: "/getconfig", destination: "/api/getconfig" }] };
