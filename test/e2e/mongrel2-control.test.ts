import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createControl, type Mongrel2Control } from '../../src/mongrel2/index.ts'
import { Workplace } from '../support/command.ts'
import { embedded } from '../support/embedded.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

describe.skipIf(embedded)('createControl', () => {
  let mongrel2: Mongrel2
  let control: Mongrel2Control

  beforeAll(async () => {
    mongrel2 = await startMongrel2()
  })
  afterAll(() => mongrel2?.stop())
  beforeEach(() => {
    control = createControl(mongrel2.controlPort)
  })
  afterEach(() => control?.close())

  /** A client whose request nobody answers, and its number. */
  async function client(): Promise<{ socket: Socket; id: number }> {
    const before = (await control.connections()).map(({ id }) => id)
    const socket = connect(mongrel2.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    for (;;) {
      const found = (await control.connections()).find(({ id }) => id !== undefined && !before.includes(id))
      if (found?.id !== undefined) return { socket, id: found.id }
    }
  }

  it('tells how the server is configured, its uuid and its time', async () => {
    expect(await control.info()).toEqual({
      port: mongrel2.port,
      bindAddr: '127.0.0.1',
      uuid: 'f400bf85-4538-4f7a-8908-67e313d515c2',
      chroot: './',
      // Root's Mongrel2 is in its chroot; any other user's puts that before its paths.
      accessLog: expect.stringMatching(/^(?:\.\/)?\/logs\/access\.log$/),
      errorLog: '/logs/error.log',
      pidFile: expect.stringMatching(/^\.?\/run\/mongrel2\.pid$/),
      defaultHostname: 'localhost',
    })
    expect(await control.uuid()).toBe('f400bf85-4538-4f7a-8908-67e313d515c2')
    expect(Math.abs((await control.time()).getTime() - Date.now())).toBeLessThan(60_000)
  })

  it('lists connections and tasks, and kills a connection', async () => {
    const { socket, id } = await client()
    expect(await control.connections()).toContainEqual({
      id,
      fd: expect.any(Number),
      type: 'http',
      lastPing: expect.any(Number),
      lastRead: expect.any(Number),
      lastWrite: expect.any(Number),
      bytesRead: 35,
      bytesWritten: 0,
    })
    expect(await control.tasks()).toContainEqual(
      expect.objectContaining({ name: 'SERVER', system: false, state: 'read fd', status: 'idle' }),
    )
    const closed = once(socket, 'close')
    socket.resume()
    await control.kill(id)
    await closed
    expect((await control.connections()).map((each) => each.id)).not.toContain(id)
  })

  it('says what Mongrel2 says when it refuses', async () => {
    await expect(control.kill(9999)).rejects.toMatchObject({
      code: 'control_failed',
      message: `Mongrel2 at ${mongrel2.controlPort} refused kill: Invalid argument type. (INVALID_ARGUMENT)`,
    })
    await expect(control.kill(-1)).rejects.toThrow('id: expected an integer from 0, got -1')
    expect(() => createControl('nonsense')).toThrow('spec: expected tcp://HOST:PORT or ipc://PATH, got "nonsense"')
  })

  it('asks one command at a time, in order', async () => {
    const answers = await Promise.all([control.uuid(), control.connections(), control.uuid(), control.tasks()])
    expect(answers.map((answer) => typeof answer)).toEqual(['string', 'object', 'string', 'object'])
  })

  it('gives up after its timeout or by a signal, and goes on with the next command', async () => {
    process.kill(mongrel2.pid, 'SIGSTOP')
    using impatient = createControl(mongrel2.controlPort, { timeout: 100 })
    const reason = new Error('enough')
    const stop = new AbortController()
    try {
      await expect(impatient.uuid()).rejects.toMatchObject({
        code: 'timeout',
        message: `no answer from ${mongrel2.controlPort} within 100 ms: is Mongrel2 running, and is this its control_port?`,
      })
      const answers = [control.uuid({ signal: stop.signal }), control.uuid({ signal: stop.signal })]
      setImmediate(() => stop.abort(reason))
      for (const answer of answers) await expect(answer).rejects.toBe(reason)
    } finally {
      process.kill(mongrel2.pid, 'SIGCONT')
    }
    expect(await control.uuid()).toBe('f400bf85-4538-4f7a-8908-67e313d515c2')
  })

  it('rejects what is under way and what comes later when it is closed', async () => {
    const answer = control.uuid()
    control.close()
    await expect(answer).rejects.toMatchObject({ code: 'closed' })
    await expect(control.uuid()).rejects.toMatchObject({ code: 'closed' })
  })

  it.each(['stop', 'terminate', 'stopControl'] as const)(
    '%s resolves when the control port is closed',
    async (command) => {
      await using own = await startMongrel2()
      using its = createControl(own.controlPort, { timeout: 5000 })
      await its.reload()
      await its[command]()
      using again = createControl(own.controlPort, { timeout: 100 })
      await expect(again.uuid()).rejects.toMatchObject({ code: 'timeout' })
      // Only SIGTERM leaves it no time to remove its file.
      if (command === 'stop') await expect.poll(() => existsSync(join(own.directory, 'run/mongrel2.pid'))).toBe(false)
    },
  )
})

describe.skipIf(embedded)('mongrel2-fetch mongrel2', () => {
  it('prints tables or JSON, and fails with what Mongrel2 says', { timeout: 30_000 }, async () => {
    await using mongrel2 = await startMongrel2()
    await using workplace = new Workplace()
    const run = async (...args: string[]) => {
      const run = workplace.run(['mongrel2', ...args, '--control', mongrel2.controlPort])
      return [await run.ended, run.stdout, run.stderr]
    }
    const socket = connect(mongrel2.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    using control = createControl(mongrel2.controlPort)
    await expect.poll(() => control.connections()).toMatchObject([{ id: expect.any(Number) }])
    const [{ id } = { id: 0 }] = await control.connections()
    const uuid = 'f400bf85-4538-4f7a-8908-67e313d515c2'
    const [info, status, json, time, kill, again, wrong] = await Promise.all([
      run('info'),
      run('status'),
      run('info', '--json'),
      run('time'),
      run('kill', String(id)),
      run('kill', '777'),
      run('nonsense'),
    ])
    expect(info).toEqual([
      0,
      expect.stringMatching(new RegExp(`^port +${mongrel2.port}\\n(?:.*\\n)*uuid +${uuid}\\n`)),
      '',
    ])
    expect(status?.[1]).toMatch(/^id +type +fd +lastPing +lastRead +lastWrite +bytesRead +bytesWritten\n/)
    expect(JSON.parse(String(json?.[1]))).toMatchObject({ uuid, port: mongrel2.port })
    expect(time?.[1]).toMatch(/^\d{4}-\d\d-\d\dT/)
    expect(kill).toEqual([0, `killed connection ${id}\n`, ''])
    expect(again).toEqual([1, '', expect.stringContaining('refused kill: Invalid argument type. (INVALID_ARGUMENT)')])
    expect(wrong).toEqual([2, '', expect.stringContaining('expected one of info, status')])
    expect(await run('stop')).toEqual([0, 'Mongrel2 has ended\n', ''])
  })
})
