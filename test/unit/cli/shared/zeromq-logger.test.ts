import { expect, it } from 'vitest'
import { Pull } from 'zeromq'
import { zeromqLogger } from '../../../../src/cli/shared/loggers.ts'
import { freePort } from '../../../support/free-port.ts'

it('keeps 1000 lines while nobody listens, and says how many are missing', async () => {
  const address = `tcp://127.0.0.1:${await freePort()}`
  using logger = zeromqLogger(address)
  for (let n = 0; n < 5000; n++) logger.info?.(`line ${n}`)
  await new Promise(setImmediate)
  const pull = new Pull()
  await pull.bind(address)
  const texts: string[] = []
  while (texts.length < 1000) texts.push(String((await pull.receive())[0]))
  expect(texts[0]).toMatch(/^\d{4}-\S+Z info line 0$/)
  expect(texts[999]).toMatch(/ info line 999$/)
  logger.warn?.('after the gap')
  expect(String((await pull.receive())[0])).toMatch(/ warn after the gap \(4000 lines before this one are missing\)$/)
  pull.close()
})

it('cuts what is too long', async () => {
  const address = `tcp://127.0.0.1:${await freePort()}`
  const pull = new Pull()
  await pull.bind(address)
  using logger = zeromqLogger(address)
  logger.error?.('x'.repeat(1024 * 1024))
  const [message] = await pull.receive()
  expect(message?.length).toBeLessThan(17 * 1024)
  pull.close()
})

it.each([
  ['text', /^\S+Z warn \[worker 12 on db2\] failed$/],
  ['json', /^\{"level":40,"time":\d+,"pid":\d+,"hostname":"[^"]+","worker":12,"node":"db2","msg":"failed"\}$/],
] as const)('names the worker that wrote a line, as %s', async (format, form) => {
  const address = `tcp://127.0.0.1:${await freePort()}`
  const pull = new Pull()
  await pull.bind(address)
  using logger = zeromqLogger(address, format)
  logger.warn?.('failed', { worker: 12, node: 'db2' })
  expect(String((await pull.receive())[0])).toMatch(form)
  pull.close()
})
