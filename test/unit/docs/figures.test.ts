import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

interface Verdict {
  readonly goal: { readonly text: string }
  readonly value?: { readonly median: number }
}

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

it.each([
  ['requests a second, against nginx', 'Requests a second, Hono hello, against nginx → @hono/node-server'],
  ["CPU of the handler's process per request", 'CPU a request, Hono hello, against @hono/node-server'],
  ['CPU of a message to 5,000 WebSockets', 'CPU for a message of 100 bytes to 5,000 WebSockets, against ws'],
  ['a response of 100 MiB', 'A response of 100 MiB by the control port, against Mongrel2 Proxy'],
])('The README’s figure of %s is that of the last run', (row, goal) => {
  const { verdicts }: { verdicts: readonly Verdict[] } = JSON.parse(read('test/bench/results.json'))
  const { value } = verdicts.find(({ goal: { text } }) => text === goal) ?? {}
  const line = read('README.md')
    .split('\n')
    .find((text) => text.startsWith(`| ${row}`))
  expect(line).toContain(`| ${value?.median.toFixed(2)} |`)
})
