import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Reply } from 'zeromq'
import { ControlPort } from '../../../src/link/control-port.ts'
import { parseTnetstring, renderTnetstring, type Tnetstring } from '../../../src/wire/tnetstring.ts'

const HEADERS = ['id', 'fd', 'type', 'last_ping', 'last_read', 'last_write', 'bytes_read', 'bytes_written']

function tableOf(headers: Tnetstring, rows: Tnetstring): Tnetstring {
  return new Map([
    ['headers', headers],
    ['rows', rows],
  ])
}

describe('ControlPort', () => {
  let directory: string
  let stand: Reply
  let port: ControlPort

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'control-'))
    const spec = `ipc://${join(directory, 'control')}`
    stand = new Reply({ linger: 0 })
    await stand.bind(spec)
    port = new ControlPort({ spec, named: true })
  })

  afterEach(async () => {
    port.close()
    stand.close()
    await rm(directory, { recursive: true })
  })

  /** Asks once; the port answers with this. */
  async function ask(answer: Tnetstring): Promise<Map<number, number>> {
    const written = port.bytesWritten()
    await stand.receive()
    await stand.send(renderTnetstring(answer))
    return await written
  }

  it.each<[what: string, answer: Tnetstring, written: [number, number][]]>([
    ['of Mongrel2', tableOf(HEADERS, [[7, 21, 1, 0, 0, 0, 100, 4711], [8, 22, 1, 0, 0, 0, 1, 0]]), [[7, 4711], [8, 0]]], // biome-ignore format: a table
    ['without connections', tableOf(HEADERS, []), []],
    ['with its columns in another order', tableOf(['bytes_written', 'id'], [[1, 2]]), [[2, 1]]],
    ['with rows that are too short', tableOf(['id', 'bytes_written'], [[1], ['1', 2], [3, 4]]), [[3, 4]]],
  ])('reads the bytes written by connection from a table %s', async (_what, answer, written) => {
    expect([...(await ask(answer))]).toEqual(written)
  })

  it.each<[what: string, answer: Tnetstring]>([
    ['an error', new Map<string, Tnetstring>([['code', 'INVALID_ARGUMENT'], ['error', 'Invalid command']])], // biome-ignore format: a table
    ['a table without id', tableOf(['bytes_written'], [[1]])],
    ['a table without bytes_written', tableOf(['id'], [[1]])],
    ['a table without rows', tableOf(HEADERS, 'x')],
    ['a table without headers', tableOf('x', [])],
    ['a table with a row that is none', tableOf(HEADERS, ['x'])],
    ['a list', ['x']],
    ['a text', 'x'],
  ])('throws on %s, rather than say that no connection is open', async (_what, answer) => {
    await expect(ask(answer)).rejects.toMatchObject({ name: 'Mongrel2Error', code: 'control_failed' })
  })

  it('asks for the status of the connections, again and again', async () => {
    for (let question = 0; question < 3; question++) {
      const answer = port.bytesWritten()
      const [asked] = await stand.receive()
      expect(parseTnetstring(asked as Buffer)).toEqual(['status', new Map([['what', 'net']])])
      await stand.send(renderTnetstring(tableOf(['id', 'bytes_written'], [[1, question]])))
      expect([...(await answer)]).toEqual([[1, question]])
    }
  })

  it('rejects on an answer that is none, and can be asked again', async () => {
    const answer = port.bytesWritten()
    await stand.receive()
    await stand.send('nonsense')
    await expect(answer).rejects.toMatchObject({ name: 'Mongrel2Error', code: 'control_failed' })
    const next = port.bytesWritten()
    await stand.receive()
    await stand.send(renderTnetstring(tableOf(['id', 'bytes_written'], [])))
    expect([...(await next)]).toEqual([])
  })

  it('rejects when no answer comes, and takes a late one for no answer to the next question', async () => {
    const late = port.bytesWritten()
    await stand.receive()
    await expect(late).rejects.toThrow()
    await stand.send(renderTnetstring(tableOf(['id', 'bytes_written'], [[1, 1]])))
    const next = port.bytesWritten()
    await stand.receive()
    await stand.send(renderTnetstring(tableOf(['id', 'bytes_written'], [[2, 2]])))
    expect([...(await next)]).toEqual([[2, 2]])
  })

  it('rejects the question under way when it is closed', async () => {
    const answer = port.bytesWritten()
    answer.catch(() => {})
    await stand.receive()
    port.close()
    await expect(answer).rejects.toThrow()
    await expect(port.bytesWritten()).rejects.toMatchObject({ name: 'Mongrel2Error', code: 'closed' })
  })
})
