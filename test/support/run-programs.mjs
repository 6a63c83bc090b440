// Imports programs of the documentation into one process and tells the test, by a message, which one fails to load.
// Arguments: their paths.

for (const path of process.argv.slice(2)) {
  import(path).catch((error) => process.send({ path, error: error.stack ?? String(error) }))
}
