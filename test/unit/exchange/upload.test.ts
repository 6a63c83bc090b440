import { execFileSync } from 'node:child_process'
import { pbkdf2 } from 'node:crypto'
import { existsSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { isLocal } from '../../../src/exchange/upload/local-files.ts'
import { fitsTempStore, openUpload } from '../../../src/exchange/upload/upload.ts'
import type { FetchHandler, UploadInfo } from '../../../src/platform/handler.ts'
import { Gate } from '../../support/gate.ts'
import { type RequestParts, renderDisconnect, renderRequest } from '../support/message.ts'
import { valuesOf } from '../support/reply.ts'
import { type Stage, type StageOptions, setStage, turns, until } from '../support/stage.ts'

const START = 'x-mongrel2-upload-start'
const DONE = 'x-mongrel2-upload-done'
const FILE = 'tmp/mongrel2.upload.a1B2c3'
/** Whether our temporary directory is certainly on this machine. */
const LOCAL = await isLocal(tmpdir())
const CONTENT = 'the content of the file'
/** One byte more than is read at once. */
const LARGE = Buffer.alloc(256 * 1024 + 1, 'x')

let directory: string
let chroot: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mongrel2-fetch-upload-'))
  chroot = join(directory, 'chroot')
  await mkdir(join(chroot, 'tmp'), { recursive: true })
  await writeFile(join(chroot, FILE), CONTENT)
})
afterEach(async () => {
  await rm(directory, { recursive: true, force: true })
})

const stageAt = (fetch: FetchHandler, options: StageOptions = {}) => setStage(fetch, { chroot, ...options })

const startOf = (path = FILE, parts: RequestParts = {}) =>
  renderRequest({
    method: 'PUT',
    ...parts,
    headers: { 'content-length': String(CONTENT.length), [START]: path, ...parts.headers },
  })

const doneOf = (path = FILE, parts: RequestParts = {}) =>
  startOf(path, { ...parts, headers: { [DONE]: path, ...parts.headers } })

const exists = (path = FILE) => existsSync(join(chroot, path))

const read: FetchHandler = async (request) => new Response(await request.text())
const unreached: FetchHandler = () => {
  throw new Error('not reached')
}

const statusOf = (stage: Stage, id = 1) => stage.publisher.response(id).statusLine.split(' ')[1]

describe('the file of an upload', () => {
  const openFiles = () => readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).startsWith(directory)).length
  const linkOf = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // closed since
    }
  }

  const openIt = async () => {
    const upload = await openUpload(FILE, { chroot, tempStore: 'tmp/mongrel2.upload.XXXXXX', keep: false })
    if (typeof upload === 'string') throw new Error(upload)
    return upload
  }
  /** Gives every thread of Node's more than one task; `taskEnds` is called at the end of each. */
  const keepThreadsBusy = (taskEnds = () => {}) =>
    Promise.all(
      Array.from({ length: 16 }, () => promisify(pbkdf2)('a', 'b', 20_000, 16, 'sha256').then(() => taskEnds())),
    )

  it.runIf(LOCAL)('of at most 256 KiB is read and deleted without a thread', async () => {
    await (await openIt()).release() // asks once where the directory is
    await writeFile(join(chroot, FILE), CONTENT)
    let tasks = 0
    const busy = keepThreadsBusy(() => tasks++)
    const upload = await openIt()
    expect(Buffer.from(await upload.bytes()).toString()).toBe(CONTENT)
    await upload.release()
    expect([exists(), tasks]).toEqual([false, 0])
    await busy
  })

  it.runIf(process.platform === 'linux' && process.getuid?.() === 0)(
    'is read by threads where it may be on another machine',
    async () => {
      execFileSync('mount', ['-t', 'ramfs', 'ramfs', join(chroot, 'tmp')])
      try {
        await writeFile(join(chroot, FILE), CONTENT)
        await (await openIt()).release()
        await writeFile(join(chroot, FILE), CONTENT)
        let tasks = 0
        const busy = keepThreadsBusy(() => tasks++)
        const upload = await openIt()
        expect(tasks).toBeGreaterThan(0)
        expect(Buffer.from(await upload.bytes()).toString()).toBe(CONTENT)
        await upload.release()
        expect(exists()).toBe(false)
        await busy
      } finally {
        execFileSync('umount', [join(chroot, 'tmp')])
      }
    },
  )

  it.runIf(process.platform === 'linux')(
    'is closed after the read that waits for its turn, and read by none later',
    async () => {
      await writeFile(join(chroot, FILE), LARGE)
      const upload = await openIt()
      const busy = keepThreadsBusy()
      const bytes = upload.bytes()
      await Promise.all([upload.release(), busy])
      expect(Buffer.from(await bytes).equals(LARGE)).toBe(true)
      expect([openFiles(), exists()]).toEqual([0, false])
      await expect(upload.bytes()).rejects.toMatchObject({ code: 'upload_unavailable' })
    },
  )

  it('is found where a link leads to the chroot, also once that leads elsewhere', async () => {
    const link = join(directory, 'link')
    const at = async (target: string) => {
      await rm(link, { force: true })
      await mkdir(join(target, 'tmp'), { recursive: true })
      await writeFile(join(target, FILE), target)
      await symlink(target, link)
      const upload = await openUpload(FILE, {
        chroot: link,
        tempStore: 'tmp/mongrel2.upload.XXXXXX',
        keep: false,
      })
      if (typeof upload === 'string') throw new Error(upload)
      const text = Buffer.from(await upload.bytes()).toString()
      await upload.release()
      return text
    }
    expect([await at(chroot), await at(join(directory, 'other'))]).toEqual([chroot, join(directory, 'other')])
  })
})

describe('an upload', () => {
  it('calls the handler once its file is complete, with its body, and deletes the file after the response', async () => {
    const fetch = vi.fn(read)
    const stage = stageAt(fetch)
    stage.receive(startOf())
    await turns(5)
    expect(fetch).not.toHaveBeenCalled()
    stage.receive(doneOf())
    await stage.settled()
    expect(stage.publisher.response(1)).toMatchObject({ statusLine: 'HTTP/1.1 200 OK', rest: CONTENT })
    expect(fetch).toHaveBeenCalledTimes(1)
    expect(exists()).toBe(false)
    expect(stage.log).toEqual({ warnings: [], errors: [] })
  })

  it('in chunks does so too', async () => {
    const stage = stageAt(read)
    const headers = { 'content-length': undefined, 'transfer-encoding': 'chunked' }
    stage.receive(startOf(FILE, { headers }), doneOf(FILE, { headers }))
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe(CONTENT)
    expect(exists()).toBe(false)
  })

  it('that is empty, in chunks, has an empty body', async () => {
    await writeFile(join(chroot, FILE), '')
    const stage = stageAt(async (request) => new Response(`<${await request.text()}>`))
    const headers = { 'content-length': undefined, 'transfer-encoding': 'chunked' }
    stage.receive(startOf(FILE, { headers }), doneOf(FILE, { headers }))
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe('<>')
    expect(exists()).toBe(false)
  })

  it('says where its file is, how large it is, and keeps the headers that say so', async () => {
    let seen: { upload: UploadInfo | undefined; header: string | null; there: string } | undefined
    const stage = stageAt(async (request, env) => {
      const { upload } = env.mongrel2
      seen = { upload, header: request.headers.get(DONE), there: await readFile(String(upload?.path), 'utf8') }
      return new Response()
    })
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(seen).toEqual({ upload: { path: join(chroot, FILE), size: CONTENT.length }, header: FILE, there: CONTENT })
  })

  it('has its length and no more: what Mongrel2 wrote behind it is cut off, and the connection ends with its answer', async () => {
    let stored = ''
    const stage = stageAt(async (request, env) => {
      stored = await readFile(String(env.mongrel2.upload?.path), 'utf8')
      return new Response(`${env.mongrel2.upload?.size} ${await request.text()}`)
    })
    const headers = { 'content-length': '11' }
    // The rest of what was pipelined behind it comes as the next message: whatever that says, it is not heard.
    stage.receive(startOf(FILE, { headers }), doneOf(FILE, { headers }), renderRequest({ target: '/smuggled' }))
    await stage.settled()
    expect(stage.publisher.response(1)).toMatchObject({ statusLine: 'HTTP/1.1 200 OK', rest: '11 the content' })
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual(['close'])
    expect(stored).toBe('the content')
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.application.counters).toMatchObject({ requests: 1, rejected: 1 })
    expect(exists()).toBe(false)
  })

  it('keeps what comes behind it waiting until it has been looked at', async () => {
    const gate = new Gate()
    const seen: string[] = []
    const stage = stageAt(
      async (request) => {
        seen.push(request.method)
        return new Response(await request.text())
      },
      { onUploadStart: () => gate.pass('hook').then(() => undefined) },
    )
    stage.receive(startOf(), doneOf(), renderRequest({ method: 'GET' }), renderRequest({ method: 'DELETE' }))
    await turns(20)
    expect(seen).toEqual([])
    gate.open('hook')
    await until(() => seen.length === 3)
    expect(seen).toEqual(['PUT', 'GET', 'DELETE'])
    await stage.settled()
  })

  it('larger than a read arrives whole', async () => {
    const bytes = Buffer.alloc(300_000, 'abcdefghijklmnopqrstuvwxyz')
    await writeFile(join(chroot, FILE), bytes)
    const sizes: number[] = []
    const stage = stageAt(async (request) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of request.body ?? []) {
        sizes.push(chunk.length)
        chunks.push(chunk)
      }
      return new Response(String(Buffer.concat(chunks).equals(bytes)))
    })
    const headers = { 'content-length': '300000' }
    stage.receive(startOf(FILE, { headers }), doneOf(FILE, { headers }))
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe('true')
    expect(sizes).toEqual([262_144, 300_000 - 262_144])
  })

  it('can be read with a buffer of the reader', async () => {
    const stage = stageAt(async (request) => {
      const reader = request.body?.getReader({ mode: 'byob' })
      let text = ''
      for (;;) {
        const result = await reader?.read(new Uint8Array(10))
        if (result === undefined || result.done) return new Response(text)
        text += Buffer.from(result.value).toString()
      }
    })
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe(CONTENT)
  })

  it('of one connection does not wait for that of another', async () => {
    const other = 'tmp/mongrel2.upload.zzzzzz'
    await writeFile(join(chroot, other), 'the content of another.')
    const stage = stageAt(read)
    stage.receive(startOf(), startOf(other, { connectionId: 2 }), doneOf(other, { connectionId: 2 }))
    await until(() => stage.publisher.received(2) !== '')
    expect(stage.publisher.response(2).rest).toBe('the content of another.')
    stage.receive(doneOf())
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe(CONTENT)
  })

  it('whose store is named by a path from the root lies in the chroot all the same', async () => {
    const tempStore = '/tmp/mongrel2.upload.XXXXXX'
    const stage = stageAt(read, { uploads: { tempStore } })
    stage.receive(startOf(`/${FILE}`), doneOf(`/${FILE}`))
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe(CONTENT)
    expect(exists()).toBe(false)
  })
})

describe('the file is deleted', () => {
  it.each<[when: string, fetch: FetchHandler]>([
    ['the handler did not read it', () => new Response('unread')],
    [
      'the handler cancelled the body',
      async (request) => {
        await request.body?.cancel()
        return new Response('cancelled')
      },
    ],
    [
      'the handler read a part',
      async (request) => {
        await request.body?.getReader({ mode: 'byob' }).read(new Uint8Array(3))
        return new Response('partly')
      },
    ],
    [
      'the handler threw',
      () => {
        throw new Error('broken')
      },
    ],
    ['the handler rejected', () => Promise.reject(new Error('broken'))],
    ['the response streams the body back', (request) => new Response(request.body)],
    [
      'the response fails',
      () => new Response(new ReadableStream({ start: (controller) => controller.error(new Error('broken')) })),
    ],
  ])('when %s', async (_when, fetch) => {
    const stage = stageAt(fetch)
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(statusOf(stage)).toMatch(/200|500/)
    expect(exists()).toBe(false)
  })

  it('as soon as the body is cancelled', async () => {
    let there: boolean | undefined
    const stage = stageAt(async (request) => {
      await request.body?.cancel()
      there = exists()
      return new Response()
    })
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(there).toBe(false)
  })

  it('only when work given to waitUntil is done with it', async () => {
    const gate = new Gate()
    let content = ''
    const stage = stageAt((_request, env, ctx) => {
      const work = async () => {
        await gate.pass('work')
        content = await readFile(String(env.mongrel2.upload?.path), 'utf8')
      }
      ctx.waitUntil(work())
      return new Response('accepted')
    })
    stage.receive(startOf(), doneOf())
    await until(() => stage.publisher.received(1) !== '')
    await turns(20)
    expect(exists()).toBe(true)
    gate.open('work')
    await stage.settled()
    expect([content, exists()]).toEqual([CONTENT, false])
  })

  it('when the client leaves while the handler runs', async () => {
    const gate = new Gate()
    const stage = stageAt(async () => {
      await gate.pass('handler')
      return new Response()
    })
    stage.receive(startOf(), doneOf())
    await gate.arrival('handler')
    stage.receive(renderDisconnect(1))
    gate.open('handler')
    await stage.settled()
    expect(exists()).toBe(false)
  })

  it('when the client left while the request waited for a place', async () => {
    const gate = new Gate()
    const stage = stageAt(
      async () => {
        await gate.pass('first')
        return new Response()
      },
      { maxInFlight: 1 },
    )
    stage.receive(renderRequest({ connectionId: 2 }), startOf(), doneOf())
    await turns(200)
    stage.receive(renderDisconnect(1))
    gate.open('first')
    await stage.settled()
    expect(exists()).toBe(false)
  })

  it('when there is no place for the request', async () => {
    const gate = new Gate()
    const stage = stageAt(
      async () => {
        await gate.pass('first')
        return new Response()
      },
      { maxInFlight: 1, maxQueued: 0 },
    )
    stage.receive(renderRequest({ connectionId: 2 }), startOf(), doneOf())
    await until(() => stage.publisher.received(1) !== '')
    expect(statusOf(stage)).toBe('503')
    gate.open('first')
    await stage.settled()
    expect(exists()).toBe(false)
  })

  it('not before, while the response is being sent', async () => {
    let body: ReadableStreamDefaultController | undefined
    const stage = stageAt(
      () =>
        new Response(
          new ReadableStream({
            start: (controller) => {
              body = controller
              controller.enqueue(Buffer.from('a'))
            },
          }),
        ),
    )
    stage.receive(startOf(), doneOf())
    await until(() => stage.publisher.received(1) !== '')
    await turns(20)
    expect(exists()).toBe(true)
    body?.close()
    await stage.settled()
    expect(exists()).toBe(false)
  })

  it('never, where uploads are to be kept', async () => {
    const stage = stageAt(
      async (request) => {
        await request.body?.cancel()
        return new Response()
      },
      { uploads: { keep: true } },
    )
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(exists()).toBe(true)
  })

  it('by nobody else: that the handler did it is no failure', async () => {
    const stage = stageAt(async (_request, env) => {
      await rm(String(env.mongrel2.upload?.path))
      return new Response()
    })
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(statusOf(stage)).toBe('200')
    expect(stage.log.errors).toEqual([])
  })
})

describe('onUploadStart', () => {
  it('sees the request without its body and lets it go on', async () => {
    const seen: unknown[] = []
    const onUploadStart = (request: Request) => {
      seen.push(request.method, request.url, request.body, request.headers.get(START))
      return undefined
    }
    const stage = stageAt(read, { onUploadStart })
    stage.receive(startOf(FILE, { target: '/up' }), doneOf(FILE, { target: '/up' }))
    await stage.settled()
    expect(seen).toEqual(['PUT', 'http://example.org/up', null, null])
    expect(stage.publisher.response(1).rest).toBe(CONTENT)
  })

  it.each([
    ['at once', 0],
    ['late', 20],
  ])(
    'that answers %s ends the connection; the file of an upload that is completed all the same is deleted',
    async (_when, late) => {
      const fetch = vi.fn(read)
      const onUploadStart = async () => {
        await turns(late)
        return new Response('who are you?', { status: 401 })
      }
      const stage = stageAt(fetch, { onUploadStart })
      stage.receive(startOf())
      await turns(late === 0 ? 10 : 1)
      stage.receive(doneOf())
      await stage.settled()
      expect(stage.publisher.response(1)).toMatchObject({
        statusLine: 'HTTP/1.1 401 Unauthorized',
        rest: 'who are you?',
      })
      expect(stage.publisher.closed(1)).toBe(true)
      expect(fetch).not.toHaveBeenCalled()
      expect(exists()).toBe(false)
    },
  )

  it('that takes long holds the handler up, though the upload is complete', async () => {
    const gate = new Gate()
    const stage = stageAt(read, {
      onUploadStart: async () => {
        await gate.pass('start')
        return undefined
      },
    })
    stage.receive(startOf(), doneOf())
    await turns(50)
    expect(stage.publisher.replies).toEqual([])
    gate.open('start')
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe(CONTENT)
  })

  it('that fails is a 500 and the end of the connection', async () => {
    const stage = stageAt(unreached, { onUploadStart: () => Promise.reject(new Error('broken')) })
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(statusOf(stage)).toBe('500')
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.log.errors).toEqual([expect.stringMatching(/Error: broken/)])
    expect(exists()).toBe(false)
  })
})

describe('an upload that is answered at its start', () => {
  const size = () => statSync(join(chroot, FILE)).size

  it.each<[what: string, status: string, options: StageOptions, parts: RequestParts]>([
    ['by its length', '413', { maxBodySize: CONTENT.length - 1 }, {}],
    ['by its length, where others pull, too', '413', { maxBodySize: CONTENT.length - 1, shared: true }, {}],
    ['by onUploadStart', '403', { onUploadStart: () => new Response('no', { status: 403 }) }, {}],
    ['by its host', '400', {}, { headers: { host: 'user@h' } }],
  ])('%s stays open until Mongrel2 has stored all of it', async (_what, status, options, parts) => {
    const stage = stageAt(unreached, options)
    stage.receive(startOf(FILE, parts))
    await until(() => stage.publisher.received(1) !== '')
    expect(statusOf(stage)).toBe(status)
    expect(valuesOf(stage.publisher.response(1), 'connection')).toEqual(['close'])
    await turns(20)
    expect(stage.publisher.closed(1)).toBe(false)
    stage.receive(doneOf(FILE, parts))
    await until(() => stage.publisher.closed(1))
    await until(() => !exists())
    expect(stage.log.errors).toEqual([])
  })

  it('behind a request that was the last of its connection, too', async () => {
    const gate = new Gate()
    const stage = stageAt(async (request) => {
      await gate.pass('first')
      return new Response(request.url, { headers: { connection: 'close' } })
    })
    stage.receive(renderRequest({ target: '/first' }), startOf())
    await gate.arrival('first')
    gate.open('first')
    await until(() => stage.publisher.received(1).includes('/first'))
    await turns(20)
    expect(stage.publisher.closed(1)).toBe(false)
    stage.receive(doneOf())
    await until(() => stage.publisher.closed(1))
  })

  describe('while the client sends on', () => {
    let stage: Stage

    beforeEach(async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
      stage = stageAt(unreached, { maxBodySize: CONTENT.length - 1 })
      stage.receive(startOf())
      await lookedAt()
    })

    afterEach(() => {
      vi.useRealTimers()
    })

    /** Waits for the end of a look at the file, from which the time to the next one counts. */
    const lookedAt = () => until(() => vi.getTimerCount() > 0 || stage.publisher.closed(1))

    /** Lets time pass until the next look at the file. Looking itself takes none of the client's time. */
    async function nextLook(): Promise<void> {
      await vi.advanceTimersByTimeAsync(100)
      await lookedAt()
    }

    /** Looks until the connection is closed, each time after a step of the client; resolves with the milliseconds that passed. */
    async function timeUntilClosed(step: () => Promise<void>): Promise<number> {
      const start = performance.now()
      while (!stage.publisher.closed(1)) {
        await step()
        await nextLook()
      }
      return performance.now() - start
    }

    const send = () => writeFile(join(chroot, FILE), CONTENT)

    it('has its file emptied', async () => {
      expect(size()).toBe(0)
      await send()
      await nextLook()
      expect(size()).toBe(0)
      expect(stage.publisher.closed(1)).toBe(false)
    })

    it('is closed when nothing comes for five seconds', async () => {
      expect(await timeUntilClosed(async () => {})).toBeGreaterThanOrEqual(4900)
    })

    it('is closed after half a minute', async () => {
      expect(await timeUntilClosed(send)).toBeGreaterThanOrEqual(29_000)
    })

    it('is not looked after any more when the client is gone', async () => {
      stage.receive(renderDisconnect(1))
      await send()
      await vi.advanceTimersByTimeAsync(1000)
      expect(vi.getTimerCount()).toBe(0)
      await turns(20)
      expect(size()).toBe(CONTENT.length)
      expect(stage.epoch.connections.size).toBe(0)
    })
  })
})

describe('an upload that is refused', () => {
  it('because it is announced too large is a 413 at its start, and leaves no file', async () => {
    const stage = stageAt(unreached, { maxBodySize: CONTENT.length - 1 })
    stage.receive(startOf())
    await turns(5)
    expect(statusOf(stage)).toBe('413')
    expect(stage.application.counters.rejected).toBe(1)
    stage.receive(doneOf())
    await until(() => stage.publisher.closed(1))
    expect(exists()).toBe(false)
    expect(stage.epoch.connections.size).toBe(0)
  })

  it('because it became too large, in chunks, is a 413 and its file is deleted', async () => {
    const stage = stageAt(unreached, { maxBodySize: CONTENT.length - 1 })
    const headers = { 'content-length': undefined, 'transfer-encoding': 'chunked' }
    stage.receive(startOf(FILE, { headers }), doneOf(FILE, { headers }))
    await stage.settled()
    expect(statusOf(stage)).toBe('413')
    expect(exists()).toBe(false)
  })

  it('because it said more bytes than came is a 400 and its file is deleted', async () => {
    const stage = stageAt(unreached)
    const headers = { 'content-length': String(CONTENT.length + 1) }
    stage.receive(startOf(FILE, { headers }), doneOf(FILE, { headers }))
    await stage.settled()
    expect(statusOf(stage)).toBe('400')
    expect(stage.publisher.closed(1)).toBe(true)
    expect(exists()).toBe(false)
  })

  it.each<[what: string, parts: RequestParts]>([
    ['Host is missing', { headers: { host: undefined } }],
    ['lengths differ', { headers: { 'content-length': ['23', '24'] } }],
  ])('because %s is a 400, and what Mongrel2 sends of it later is dropped', async (_what, parts) => {
    const stage = stageAt(unreached)
    stage.receive(startOf(FILE, parts))
    await turns(5)
    stage.receive(doneOf(FILE, parts))
    await stage.settled()
    expect(statusOf(stage)).toBe('400')
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('because too large is a 413, and its file is deleted if Mongrel2 completes it all the same', async () => {
    const stage = stageAt(unreached, { maxBodySize: 5 })
    stage.receive(startOf())
    await turns(5)
    stage.receive(doneOf())
    await stage.settled()
    expect(exists()).toBe(false)
  })

  it('because the server stops is a 503', async () => {
    const stage = stageAt(unreached)
    stage.receive(startOf())
    stage.epoch.closing.stopPulling()
    await stage.settled()
    expect(statusOf(stage)).toBe('503')
    expect(stage.publisher.closed(1)).toBe(true)
  })
})

describe('the client that leaves amid an upload', () => {
  it('leaves the file to Mongrel2, which deletes it', async () => {
    const stage = stageAt(unreached)
    stage.receive(startOf(), renderDisconnect(1))
    await stage.settled()
    expect(exists()).toBe(true)
    expect(stage.publisher.replies).toEqual([])
    expect(stage.epoch.connections.size).toBe(0)
  })
})

describe('forged upload headers', () => {
  const chunked = { 'content-length': undefined, 'transfer-encoding': 'chunked' }
  const OTHER = '/etc/passwd'

  it.each<[what: string, messages: () => Buffer[]]>([
    ['a start without a body', () => [startOf(FILE, { headers: { 'content-length': undefined } })]],
    ['a start with a length of 0', () => [startOf(FILE, { headers: { 'content-length': '0' } })]],
    ['a start with a body', () => [startOf(FILE, { body: CONTENT })]],
    ['a done without a start', () => [doneOf(FILE, { headers: { [START]: undefined } })]],
    ['a done with a body', () => [doneOf(FILE, { body: CONTENT })]],
    ['a done for a small request', () => [renderRequest({ method: 'POST', body: 'a', headers: { [DONE]: OTHER } })]],
    ['start and done at once', () => [doneOf()]],
    ['start and done at once, in chunks', () => [doneOf(FILE, { headers: chunked })]],
    ['a done of another file', () => [doneOf(FILE, { headers: { [DONE]: OTHER } })]],
    ['two starts', () => [startOf(FILE, { headers: { [START]: [FILE, FILE] } })]],
    ['two dones', () => [doneOf(FILE, { headers: { [DONE]: [FILE, FILE] } })]],
    ['a done of another file after a start', () => [startOf(), doneOf('tmp/mongrel2.upload.zzzzzz')]],
    ['a start after a start', () => [startOf(), startOf()]],
    ['another request after a start', () => [startOf(), renderRequest()]],
    ['a done with a body after a start', () => [startOf(), doneOf(FILE, { body: CONTENT })]],
    ['a done with an impossible length', () => [doneOf(FILE, { headers: { 'content-length': '99999999999' } })]],
  ])('as %s are a 400 and a close; no file is touched, no handler called', async (_what, messages) => {
    const stage = stageAt(unreached)
    stage.receive(...messages())
    await stage.settled()
    expect(statusOf(stage)).toBe('400')
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.application.counters).toMatchObject({ requests: 0, rejected: 1 })
    expect(await readdir(join(chroot, 'tmp'))).toEqual(['mongrel2.upload.a1B2c3'])
    expect(stage.log.errors).toEqual([])
  })

  it('of another connection than the one that began do not end it', async () => {
    const stage = stageAt(read)
    stage.receive(startOf(), doneOf(FILE, { connectionId: 2 }))
    await turns(20)
    expect(statusOf(stage, 2)).toBe('400')
    stage.receive(doneOf())
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe(CONTENT)
  })

  it('are warned of once a second', async () => {
    const stage = stageAt(unreached)
    for (let id = 1; id <= 5; id++) stage.receive(doneOf(FILE, { connectionId: id, target: '/forged' }))
    await stage.settled()
    expect(stage.log.warnings).toEqual([
      expect.stringMatching(
        /refused forged upload headers from 192\.0\.2\.7 for \/forged: its start did not come here/,
      ),
    ])
  })
})

describe('where other processes pull from the same Handler', () => {
  it('an end alone calls the handler with the body, and deletes the file after the response', async () => {
    const stage = stageAt(read, { shared: true })
    stage.receive(doneOf())
    await stage.settled()
    expect(stage.publisher.response(1)).toMatchObject({ statusLine: 'HTTP/1.1 200 OK', rest: CONTENT })
    expect(exists()).toBe(false)
    expect(stage.log).toEqual({ warnings: [], errors: [] })
  })

  it('a beginning alone is nothing, and the next request of its connection is answered', async () => {
    const stage = stageAt(async (request) => new Response(`<${await request.text()}>`), { shared: true })
    stage.receive(startOf(), renderRequest({ target: '/next' }))
    await stage.settled()
    expect(stage.publisher.response(1)).toMatchObject({ statusLine: 'HTTP/1.1 200 OK', rest: '<>' })
    expect(exists()).toBe(true)
  })

  it.each<[string, RequestParts]>([
    ['without a body', { headers: { 'content-length': '0' } }],
    ['with the body in the message', { body: CONTENT }],
    ['of a length that is none', { headers: { 'content-length': '99999999999' } }],
    ['of two files', { headers: { [START]: 'tmp/mongrel2.upload.zzzzzz' } }],
    ['of no file that began', { headers: { [START]: undefined } }],
  ])('an end %s is refused, and no file is touched', async (_, parts) => {
    const stage = stageAt(unreached, { shared: true })
    stage.receive(doneOf(FILE, parts))
    await stage.settled()
    expect(statusOf(stage)).toBe('400')
    expect(exists()).toBe(true)
  })

  it('a file outside of the store is not opened', async () => {
    await writeFile(join(chroot, 'secret'), CONTENT)
    const stage = stageAt(unreached, { shared: true })
    stage.receive(doneOf('secret'))
    await stage.settled()
    expect(statusOf(stage)).toBe('500')
    expect(exists('secret')).toBe(true)
  })

  it('onUploadStart is asked at the end, and what it refuses is deleted', async () => {
    const onUploadStart = vi.fn(() => new Response('no', { status: 403 }))
    const stage = stageAt(unreached, { shared: true, onUploadStart })
    stage.receive(startOf())
    await turns(5)
    expect(onUploadStart).not.toHaveBeenCalled()
    stage.receive(doneOf())
    await stage.settled()
    expect(statusOf(stage)).toBe('403')
    await until(() => !exists())
  })
})

describe('a path that Mongrel2 would not make', () => {
  it.each([
    '/etc/passwd',
    '../outside/mongrel2.upload.a1B2c3',
    'tmp/../../mongrel2.upload.a1B2c3',
    'tmp/mongrel2.upload.a1B2c',
    'tmp/mongrel2.upload.a1B2c34',
    'tmp/mongrel2.upload.../..',
    'tmp/mongrel2.upload.a/B2c3',
    'other/mongrel2.upload.a1B2c3',
    '',
  ])('as %j is a 500 and a warning that names the option', async (path) => {
    const stage = stageAt(unreached)
    stage.receive(startOf(path), doneOf(path))
    await stage.settled()
    expect(statusOf(stage)).toBe('500')
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.log.warnings).toEqual([
      expect.stringMatching(/the option uploads\.tempStore is "tmp\/mongrel2\.upload\.XXXXXX"/),
    ])
    expect(exists()).toBe(true)
  })
})

describe('a file that is none of Mongrel2', () => {
  const LINKED = 'tmp/mongrel2.upload.LINKED'

  it.each<[what: string, make: (path: string) => Promise<void> | void, warning: RegExp]>([
    ['a link to a file in the chroot', (path) => symlink(join(chroot, FILE), path), /is a link/],
    ['a link to a file elsewhere', (path) => symlink('/etc/hostname', path), /is a link/],
    ['a link to nothing', (path) => symlink('/nowhere', path), /is a link/],
    ['a directory', (path) => mkdir(path).then(() => undefined), /is no regular file/],
    ['a fifo', (path) => void execFileSync('mkfifo', [path]), /is no regular file/],
  ])('because it is %s is a 400 and a warning; it is not deleted', async (_what, make, warning) => {
    await make(join(chroot, LINKED))
    const stage = stageAt(unreached)
    stage.receive(startOf(LINKED), doneOf(LINKED))
    await stage.settled()
    expect(statusOf(stage)).toBe('400')
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.log.warnings).toEqual([expect.stringMatching(warning)])
    expect((await readdir(join(chroot, 'tmp'))).sort()).toEqual(['mongrel2.upload.LINKED', 'mongrel2.upload.a1B2c3'])
  })

  it('because its directory is a link out of the chroot is a 400; it is not deleted', async () => {
    const outside = join(directory, 'outside')
    await mkdir(outside)
    await writeFile(join(outside, 'mongrel2.upload.a1B2c3'), CONTENT)
    await symlink(outside, join(chroot, 'out'))
    const stage = stageAt(unreached, { uploads: { tempStore: 'out/mongrel2.upload.XXXXXX' } })
    stage.receive(startOf('out/mongrel2.upload.a1B2c3'), doneOf('out/mongrel2.upload.a1B2c3'))
    await stage.settled()
    expect(statusOf(stage)).toBe('400')
    expect(stage.log.warnings).toEqual([expect.stringMatching(/leaves the chroot/)])
    expect(await readdir(outside)).toEqual(['mongrel2.upload.a1B2c3'])
  })

  it('because its directory is a link out of the chroot is not deleted when it was refused at its start either', async () => {
    const outside = join(directory, 'outside')
    await mkdir(outside)
    await writeFile(join(outside, 'mongrel2.upload.a1B2c3'), CONTENT)
    await symlink(outside, join(chroot, 'out'))
    const stage = stageAt(unreached, {
      uploads: { tempStore: 'out/mongrel2.upload.XXXXXX' },
      onUploadStart: () => new Response('no', { status: 403 }),
    })
    stage.receive(startOf('out/mongrel2.upload.a1B2c3'))
    await turns(10)
    stage.receive(doneOf('out/mongrel2.upload.a1B2c3'))
    await stage.settled()
    expect(statusOf(stage)).toBe('403')
    expect(await readdir(outside)).toEqual(['mongrel2.upload.a1B2c3'])
  })

  it('opens in a chroot that is a link itself', async () => {
    const alias = join(directory, 'alias')
    await symlink(chroot, alias)
    const stage = stageAt(read, { chroot: alias })
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(stage.publisher.response(1).rest).toBe(CONTENT)
    expect(exists()).toBe(false)
  })
})

describe('a file that cannot be read', () => {
  it('because it is missing is a 500 and a warning with the path that was tried and the option that may be wrong', async () => {
    const stage = stageAt(unreached)
    stage.receive(startOf('tmp/mongrel2.upload.zzzzzz'), doneOf('tmp/mongrel2.upload.zzzzzz'))
    await stage.settled()
    expect(statusOf(stage)).toBe('500')
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.log.warnings).toHaveLength(1)
    expect(stage.log.warnings[0]).toContain(
      `${join(chroot, 'tmp/mongrel2.upload.zzzzzz')} (ENOENT): the option chroot, ${chroot},`,
    )
    expect(stage.log.errors).toEqual([])
  })

  it('because the chroot is another is a 500', async () => {
    const stage = stageAt(unreached, { chroot: join(directory, 'elsewhere') })
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(statusOf(stage)).toBe('500')
    expect(stage.log.warnings).toEqual([expect.stringMatching(/option chroot/)])
    expect(exists()).toBe(true)
  })

  it.skipIf(process.getuid?.() === 0)('because it may not be is a 500', async () => {
    await chmod(join(chroot, FILE), 0)
    const stage = stageAt(unreached)
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(statusOf(stage)).toBe('500')
    expect(stage.log.warnings).toEqual([expect.stringMatching(/EACCES/)])
  })

  it('to its end, because it was made shorter meanwhile, fails the body', async () => {
    let failure: unknown
    const stage = stageAt(async (request, env) => {
      await writeFile(String(env.mongrel2.upload?.path), 'short')
      failure = await request.text().catch((error: unknown) => error)
      return new Response()
    })
    stage.receive(startOf(), doneOf())
    await stage.settled()
    expect(failure).toMatchObject({
      code: 'upload_unavailable',
      message: expect.stringMatching(/expected at least 18 bytes more in/),
    })
    expect(exists()).toBe(false)
  })
})

describe('openUpload', () => {
  it('closes its file once, however it is ended', async () => {
    const upload = await openUpload(FILE, { chroot, tempStore: 'tmp/mongrel2.upload.XXXXXX', keep: false })
    if (typeof upload === 'string') throw new Error(upload)
    const stream = upload.stream()
    expect(await new Response(stream).text()).toBe(CONTENT)
    await Promise.all([upload.release(), upload.release()])
    expect(exists()).toBe(false)
  })
})

describe('fitsTempStore', () => {
  it.each([
    ['tmp/mongrel2.upload.a1B2c3', 'tmp/mongrel2.upload.XXXXXX', true],
    ['tmp/mongrel2.upload.XXXXXX', 'tmp/mongrel2.upload.XXXXXX', true],
    ['a1B2c3', 'XXXXXX', true],
    ['/srv/u.a1B2c3', '/srv/u.XXXXXX', true],
    ['tmp/mongrel2.upload.a1B2c3/', 'tmp/mongrel2.upload.XXXXXX', false],
    ['tmp/mongrel2xupload.a1B2c3', 'tmp/mongrel2.upload.XXXXXX', false],
    ['tmp/mongrel2.upload.a1-2c3', 'tmp/mongrel2.upload.XXXXXX', false],
    ['tmp/mongrel2.upload.a1B2c\n', 'tmp/mongrel2.upload.XXXXXX', false],
    ['../..x', 'XXXXXX', false],
  ])('says of %j with %j: %s', (path, tempStore, fits) => {
    expect(fitsTempStore(path, tempStore)).toBe(fits)
  })
})
