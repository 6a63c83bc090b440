import { afterEach, beforeEach, expect, it } from 'vitest'
import { type CommandRun, Workplace } from '../support/command.ts'
import { embedded } from '../support/embedded.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient } from '../support/raw-client.ts'

const FILES = {
  'app.ts': "export default () => new Response('HTTP')",
  'mongrel2-fetch.config.ts': `export default {
    messages: {
      json: ({ route, data }, connection) =>
        data.bye ? connection.close() : connection.send(route + ' ' + JSON.stringify(data) + '\\n'),
      xml: ({ data }, connection) => (data.includes('bye') ? connection.close() : connection.send(data + '\\n')),
      rawPayload: true,
    },
  }`,
}

let place: Workplace
let mongrel2: Mongrel2 | undefined

beforeEach(() => {
  place = new Workplace(FILES)
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
  await mongrel2?.stop()
  mongrel2 = undefined
})

/** Says two things on one connection, in JSON and in XML, and expects to be answered both times. */
async function expectAnswers(port: number): Promise<void> {
  for (const [message, answer, bye] of [
    ['@chat {"say":"hello"}', '@chat {"say":"hello"}\n', '@chat {"bye":true}'],
    ['<chat>hello</chat>', '<chat>hello</chat>\n', '<chat>bye</chat>'],
  ] as const) {
    using client = new RawClient(port)
    for (let count = 1; count <= 2; count++) {
      client.send(`${message}\0`)
      await expect.poll(() => client.bytesRead).toBe(answer.length * count)
    }
    client.send(`${bye}\0`)
    expect((await client.readToEnd()).toString()).toBe(answer.repeat(2))
  }
}

it.skipIf(embedded).each([
  ['one process', ['serve']],
  ['worker processes', ['serve', '-p', '2']],
  ['threads', ['serve', '--threads', '2']],
  ['one process that pulls for itself', ['serve', '-p', '1', '--direct']],
  ['several that do', ['serve', '-p', '2', '--direct']],
  ['dev at a Handler', ['dev']],
])('the messages of the configuration file are served by %s', async (_, [command = '', ...flags]) => {
  mongrel2 = await startMongrel2({ routes: { '/': { also: ['@chat', '<chat'], rawPayload: true } } })
  const run = place.run([command, 'app.ts', '--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory, ...flags])
  await run.prints(/^mongrel2-fetch serves/m)
  await expectAnswers(mongrel2.port)
  await stop(run)
})

it.skipIf(embedded)('the messages of the configuration file are served by dev with a Mongrel2 of its own', async () => {
  const run = place.run(['dev', 'app.ts', '--port', '0'])
  const [, port] = await run.prints(
    /^mongrel2-fetch serves app\.ts at http:\/\/127\.0\.0\.1:(\d+)\/ through Mongrel2$/m,
  )
  await expectAnswers(Number(port))
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('HTTP')
  await stop(run)
})

async function stop(run: CommandRun): Promise<void> {
  run.signal('SIGTERM')
  expect(await run.ended).toBe(0)
  expect(run.stderr).not.toMatch(/Error|failed|lost/)
}
