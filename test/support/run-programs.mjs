// Imports programs of the documentation into one process, and tells the test by a message which one fails. Ends with the test.
// Arguments: their paths.

const paths = process.argv.slice(2)

process.on('disconnect', () => process.exit())
process.on('uncaughtException', (error) => {
  const stack = error?.stack ?? String(error)
  report(
    paths.find((path) => stack.includes(path)),
    stack,
  )
})
for (const path of paths) import(path).catch((error) => report(path, error?.stack ?? String(error)))

/** Without a path, it is not known which one failed. */
function report(path, error) {
  process.send({ path, error })
}
