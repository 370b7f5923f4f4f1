// Makes the replica set of the views, unless there is one. The service mongo-set runs it with `mongosh`.
try {
  quit(rs.status().ok ? 0 : 1);
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({
    _id: "muster",
    members: ["mongo1", "mongo2", "mongo3"].map((name, number) => ({ _id: number, host: `${name}:27017` })),
  });
}
