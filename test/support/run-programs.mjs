// Imports programs of the documentation into one process, and tells the test by a message which one fails to load. Ends with the test.
// Arguments: their paths.

process.on('disconnect', () => process.exit())
for (const path of process.argv.slice(2)) {
  import(path).catch((error) => process.send({ path, error: error.stack ?? String(error) }))
}
