import { execFile } from 'node:child_process'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { headerOf, RawClient } from './raw-client.ts'

/** What a client says of the answer to its upload. */
export interface Answer {
  readonly status: number
  /** The value of `Connection`, where the client shows it. */
  readonly connection?: string
  /** Without white space at its end, which httpie adds to. */
  readonly text: string
}

/** A file that is uploaded. */
export interface UploadFile {
  readonly path: string
  readonly size: number
}

/** The sizes of uploads, in millions of bytes. */
export const MEGABYTES = [1, 6, 20, 100]

/** Makes a file of each size, without blocks on the disk. */
export async function createUploadFiles(directory: string): Promise<Map<number, UploadFile>> {
  const files = new Map<number, UploadFile>()
  for (const megabytes of MEGABYTES) {
    const path = join(directory, `${megabytes} MB`)
    await using file = await open(path, 'w')
    await file.truncate(megabytes * 1e6)
    files.set(megabytes, { path, size: megabytes * 1e6 })
  }
  return files
}

/** Uploads a file to an address as one client does. */
export type UploadClient = (url: string, file: UploadFile) => Promise<Answer>

/** How long a client may take, in seconds; without the answer it would wait for ever, or for minutes. */
const PATIENCE = 60
/** The system's, for which packages are installed. */
const PYTHON = '/usr/bin/python3'
const SCRIPT = fileURLToPath(new URL('upload-clients.py', import.meta.url))

const run = promisify(execFile)

/** Runs a program; its output, whatever its exit code says of the status. */
async function output(program: string, args: string[]): Promise<{ stdout: string; stderr: string }> {
  try {
    return await run(program, args, { timeout: PATIENCE * 1000 })
  } catch (error) {
    const {
      stdout = '',
      stderr = '',
      killed = true,
      code,
    } = error as {
      stdout?: string
      stderr?: string
      killed?: boolean
      code?: number | string
    }
    if (killed || typeof code !== 'number') throw new Error(`${program} ended without an answer`, { cause: error })
    return { stdout, stderr }
  }
}

/** The last of the heads in a text, and what follows it. */
function parseAnswer(text: string): Answer {
  const at = text.lastIndexOf('HTTP/1.1 ')
  const [head = '', ...rest] = text.slice(at).split(/\r?\n\r?\n/)
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1])
  const connection = /^ *connection: *(.*?)\r?$/im.exec(head)?.[1]
  return { status, ...(connection === undefined ? {} : { connection }), text: rest.join('\n\n').trimEnd() }
}

const curl =
  (...args: string[]): UploadClient =>
  async (url, { path }) => {
    const { stdout, stderr } = await output('curl', ['-sS', '-i', '--max-time', String(PATIENCE), ...args, path, url])
    const answer = parseAnswer(stdout)
    if (Number.isNaN(answer.status)) throw new Error(`curl: ${stderr}`)
    return answer
  }

const python =
  (library: string): UploadClient =>
  async (url, { path }) => {
    const { stdout, stderr } = await output(PYTHON, [SCRIPT, library, url, path, String(PATIENCE)])
    if (stdout === '') throw new Error(`${library}: ${stderr}`)
    return JSON.parse(stdout) as Answer
  }

/** The clients that are programs, by their names. */
export const PROGRAMS: Readonly<Record<string, UploadClient>> = {
  curl: curl('-X', 'POST', '-T'),
  'curl without Expect': curl('-H', 'Expect:', '-X', 'POST', '-T'),
  'curl in chunks': curl('-H', 'Transfer-Encoding: chunked', '-X', 'POST', '-T'),
  wget: async (url, { path }) => {
    const args = [
      '-q',
      '-S',
      '-O',
      '-',
      '--content-on-error',
      '--tries=1',
      `--timeout=${PATIENCE}`,
      `--post-file=${path}`,
    ]
    const { stdout, stderr } = await output('wget', [...args, url])
    return { ...parseAnswer(stderr), text: stdout.trimEnd() }
  },
  requests: python('requests'),
  urllib: python('urllib'),
  httpie: async (url, { path }) => {
    const args = ['--ignore-stdin', '--print=hb', '--pretty=none', `--timeout=${PATIENCE}`, 'POST', url, `@${path}`]
    const { stdout, stderr } = await output('http', args)
    const answer = parseAnswer(stdout)
    if (Number.isNaN(answer.status)) throw new Error(`httpie: ${stderr}`)
    return answer
  },
}

/** Writes everything before it reads a byte. */
export const WRITES_FIRST: UploadClient = async (url, { path, size }) => {
  const { port, pathname, search } = new URL(url)
  using client = new RawClient(Number(port))
  client.pause()
  client.send(`POST ${pathname}${search} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${size}\r\n\r\n`)
  await client.written(await readFile(path))
  client.resume()
  const response = await client.response()
  const connection = headerOf(response, 'connection')
  return { status: response.status, ...(connection && { connection }), text: response.body.toString().trimEnd() }
}

/** A page's `fetch`, of an address of the page's own origin. */
export const chromium =
  (page: Page): UploadClient =>
  async (url, { size }) =>
    await page.evaluate(`(async () => {
      const signal = AbortSignal.timeout(${PATIENCE * 1000})
      const response = await fetch(${JSON.stringify(url)}, { method: 'POST', body: new Blob([new Uint8Array(${size})]), signal })
      return { status: response.status, text: (await response.text()).trimEnd() }
    })()`)
