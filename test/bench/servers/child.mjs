// A server's side of server-process.ts.

/** What the benchmark wants of this server. */
export const options = JSON.parse(process.argv[2] ?? '{}')

process.on('disconnect', () => process.exit()) // also when the benchmark is killed
process.on('message', () => {
  globalThis.gc?.()
  process.send?.('collected')
})

/** Says that requests can come. */
export function announce(port = 0) {
  process.send?.({ port })
}
