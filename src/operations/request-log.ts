import { Socket } from 'node:net'
import { Mongrel2Error } from '../runtime/errors.ts'
import { LINE_FEED, linesIn } from '../runtime/lines.ts'
import { ignoreErrors, type Logger, messageOf } from '../runtime/log.ts'
import { fs } from '../runtime/process/node-fs.ts'
import { type Deferred, deferred } from '../runtime/promises.ts'

const { close, constants, fstat, fstatSync, open, openSync, write, writeSync } = fs

/** How long a line may wait for others to be written with, in milliseconds: a write, with its way to a thread and back, costs as much as 500. */
const TOGETHER = 100
/** Characters that are kept as text: each copy of a text to bytes has its price. */
const TEXT_SIZE = 2048
/** Bytes of a chunk, and how many are kept to be used again: new ones would bring about full garbage collections. */
const CHUNK = 512 * 1024
const MOST_SPARE = 2
/** Bytes that may wait to be written. */
const MOST_WAITING = 8 * 1024 * 1024
/** Time until a FIFO whose reader is slow is tried again, in milliseconds. */
const SLOW_RETRY = 10
/** Time from one warning, failed write or look whether the file was deleted to the next, in milliseconds. */
const INTERVAL = 1000
/** Time for what waits when the log is closed, in milliseconds. */
const CLOSE_TIME = 1000

/** Bytes after which a write to a stream ends with a line: which of them were written is unknown until all are. */
const STREAM_PART = 64 * 1024
const STDOUT = 1
const NOTHING = Buffer.alloc(0)
/** O_NONBLOCK: to open a FIFO that nobody reads, or to write to one that is full, fails and does not block a thread. */
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK | constants.O_NOCTTY

/** What the lines are: for messages, and for the mode of a new file. */
interface Lines {
  readonly name: string
  readonly option: string
  readonly mode: number
}

const ACCESS_LOG: Lines = { name: 'access log', option: 'accessLog', mode: 0o640 }
/** Records have bodies in them. */
export const RECORDS: Lines = { name: 'recording', option: 'record', mode: 0o600 }

/**
 * Appends lines to a file, or writes them to stdout. Never waits: there is one write at a time, and lines are lost while 8 MiB wait, which
 * is logged once a second. Lines are written whole: after a short or failed write the rest follows.
 */
export class RequestLog {
  readonly #path: string
  readonly #logger: Logger
  readonly #name: string
  readonly #mode: number
  /** Stdout if it is a terminal, a pipe or a socket. */
  readonly #stream: Socket | undefined
  #fd = STDOUT
  /** The file opened anew, until it replaces the other. */
  #nextFd: number | undefined
  /** What waits behind the batch: whole lines in full chunks, then in the chunk that is filled, then as text. */
  readonly #full: Buffer[] = []
  #chunk: Buffer = NOTHING
  #filled = 0
  #text = ''
  readonly #spare: Buffer[] = []
  #waiting = 0
  /** What is written, from `#offset`. */
  #batch: Buffer = NOTHING
  #offset = 0
  #writing = false
  #timer: NodeJS.Timeout | undefined
  #retry: NodeJS.Timeout | undefined
  /** Why the last write failed. */
  #failure: string | undefined
  #lost = 0
  #lossCause = ''
  #warning: NodeJS.Timeout | undefined
  #nextLook = 0
  /** Resolved when nothing waits, or nothing more can be done about it. */
  #closing: Deferred<void> | undefined
  #ended = false

  /**
   * @param path The file, or `-` for stdout.
   * @throws {Mongrel2Error} `invalid_option` if the file cannot be opened.
   */
  constructor(path: string, logger: Logger, { name, option, mode }: Lines = ACCESS_LOG) {
    this.#path = path
    this.#logger = logger
    this.#name = `${name} ${path === '-' ? 'stdout' : path}`
    this.#mode = mode
    const { stdout } = process
    if (path !== '-') this.#fd = openFirst(path, option, mode)
    else if (stdout instanceof Socket) {
      // Streams to files are not used: they take a short write for a whole one.
      this.#stream = stdout
      ignoreErrors(stdout) // the callback of each write handles its error
    }
    process.on('exit', this.#exit)
  }

  /** Writes what waits when the process ends without `close`, by an exception or by the app. A write that is under way is left to its thread. */
  readonly #exit = (): void => {
    const [batch = NOTHING, ...rest] = this.#left()
    try {
      for (const lines of this.#writing ? rest : [batch, ...rest]) {
        if (this.#stream !== undefined) this.#stream.write(lines)
        // What follows would be joined to a line that was cut.
        else if (writeSync(this.#fd, lines) < lines.length) return
      }
    } catch {} // nobody is left to be told
  }

  /** @param lines One line of ASCII without its line feed, or whole lines as bytes. */
  write(lines: string | Buffer): void {
    if (this.#closing !== undefined) return
    if (this.#waiting + this.#batch.length - this.#offset + lines.length >= MOST_WAITING) {
      this.#lose(typeof lines === 'string' ? 1 : linesIn(lines), 'they come faster than they can be written')
      return
    }
    if (typeof lines === 'string') {
      this.#waiting += lines.length + 1
      this.#text += `${lines}\n`
      if (this.#text.length >= TEXT_SIZE) this.#endText()
    } else {
      this.#waiting += lines.length
      this.#endText()
      this.#append(lines)
    }
    if (this.#writing || this.#retry !== undefined) return
    if (this.#full.length > 0) this.#advance()
    else this.#wait()
  }

  /** Writes after a while. */
  #wait(): void {
    this.#timer ??= setTimeout(() => this.#advance(), TOGETHER)
  }

  /** Opens the file anew, as it was renamed. Lines that wait are written to one of the two. Never rejects. */
  async reopen(): Promise<void> {
    if (this.#path === '-') return
    let fd: number
    try {
      fd = await process.getBuiltinModule('node:util').promisify(open)(this.#path, FLAGS, this.#mode)
    } catch (error) {
      this.#logger.error?.(
        `mongrel2-fetch: the ${this.#name} cannot be opened anew, and the open file is used on: ${causeOf(error)}`,
      )
      return
    }
    if (this.#closing !== undefined) return closeFile(fd)
    if (this.#nextFd !== undefined) void closeFile(this.#nextFd)
    this.#nextFd = fd
    this.#advance()
  }

  /** Writes what waits, for a second at most, and closes the file. */
  async close(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing.promise
    this.#closing = deferred()
    const { promise, resolve } = this.#closing
    const timer = setTimeout(resolve, CLOSE_TIME)
    this.#advance()
    await promise
    clearTimeout(timer)
    clearTimeout(this.#retry)
    this.#ended = true
    process.off('exit', this.#exit)
    this.#lose(linesIn(Buffer.concat(this.#left())), 'the server ends')
    this.#warn()
    if (this.#nextFd !== undefined) await closeFile(this.#nextFd)
    await this.#closeFile()
  }

  /** Closes the file, or leaves that to the write that is under way. */
  async #closeFile(): Promise<void> {
    if (this.#path !== '-' && !this.#writing) await closeFile(this.#fd)
  }

  /** Begins the next write, unless one is under way. */
  #advance(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#writing || this.#ended) return
    clearTimeout(this.#retry)
    this.#retry = undefined
    if (this.#nextFd !== undefined && (this.#failure !== undefined || this.#offset === this.#batch.length)) {
      this.#useFile(this.#nextFd)
      this.#nextFd = undefined
    }
    if (this.#offset === this.#batch.length) this.#takeBatch()
    if (this.#batch.length === 0) {
      this.#closing?.resolve()
      return
    }
    this.#writing = true
    const done = (error: NodeJS.ErrnoException | null | undefined, written: number) => {
      this.#writing = false
      if (this.#ended) void this.#closeFile()
      else if (error) this.#failed(error)
      else this.#wrote(written)
    }
    const rest = this.#batch.subarray(this.#offset)
    if (this.#stream === undefined) write(this.#fd, rest, done)
    else {
      const part = rest.subarray(0, rest.indexOf(LINE_FEED, Math.min(STREAM_PART, rest.length - 1)) + 1)
      this.#stream.write(part, (error) => done(error, part.length))
    }
  }

  #wrote(bytes: number): void {
    this.#failure = undefined
    this.#offset += bytes
    const now = performance.now()
    if (this.#path !== '-' && now >= this.#nextLook) {
      this.#nextLook = now + INTERVAL
      fstat(this.#fd, (_error, stats) => {
        if (stats?.nlink !== 0 || this.#closing !== undefined) return
        this.#logger.warn?.(`mongrel2-fetch: the ${this.#name} was deleted, with its last lines, and is made anew`)
        void this.reopen()
      })
    }
    const more = this.#offset < this.#batch.length || this.#full.length > 0
    if (more || this.#nextFd !== undefined || this.#closing !== undefined) this.#advance()
    else if (this.#waiting > 0) this.#wait()
  }

  #failed(error: NodeJS.ErrnoException): void {
    const slow = error.code === 'EAGAIN'
    const failure = causeOf(error)
    if (this.#failure === undefined && !slow) {
      this.#logger.warn?.(`mongrel2-fetch: the ${this.#name} cannot be written now: ${failure}`)
    }
    this.#failure = failure
    if (this.#stream !== undefined) {
      this.#lose(linesIn(this.#batch.subarray(this.#offset)), failure)
      this.#offset = this.#batch.length
    }
    if (this.#closing !== undefined && !slow) this.#closing.resolve()
    else this.#retry = setTimeout(() => this.#advance(), slow ? SLOW_RETRY : INTERVAL).unref()
  }

  #useFile(fd: number): void {
    const [before, now] = [fstatSync(this.#fd), fstatSync(fd)]
    const same = before.ino === now.ino && before.dev === now.dev
    void closeFile(same ? fd : this.#fd)
    if (same) return
    this.#fd = fd
    if (this.#offset === 0 || this.#batch[this.#offset - 1] === LINE_FEED) return
    // The rest of a line whose beginning is in the other file.
    this.#lose(1, 'a part of it was written')
    this.#offset = this.#batch.indexOf(LINE_FEED, this.#offset) + 1
  }

  /** All that waits: the rest of the batch first. */
  #left(): Buffer[] {
    this.#endText()
    return [this.#batch.subarray(this.#offset), ...this.#full, this.#chunk.subarray(0, this.#filled)]
  }

  #endText(): void {
    if (this.#text !== '') this.#append(this.#text)
    this.#text = ''
  }

  /** Copies whole lines into a chunk. */
  #append(lines: string | Buffer): void {
    if (lines.length > this.#chunk.length - this.#filled) this.#endChunk(lines.length)
    if (typeof lines === 'string') this.#chunk.write(lines, this.#filled, 'latin1')
    else this.#chunk.set(lines, this.#filled)
    this.#filled += lines.length
  }

  /** Begins another chunk, of at least so many bytes. */
  #endChunk(size: number): void {
    if (this.#filled > 0) this.#full.push(this.#chunk.subarray(0, this.#filled))
    const spare = size > CHUNK ? undefined : this.#spare.pop()
    this.#chunk = spare ?? Buffer.allocUnsafeSlow(Math.max(CHUNK, size))
    this.#filled = 0
  }

  /** Takes a chunk as the next batch; that of the last is used again. */
  #takeBatch(): void {
    const { buffer } = this.#batch
    if (buffer.byteLength === CHUNK && this.#spare.length < MOST_SPARE) this.#spare.push(Buffer.from(buffer))
    this.#endText()
    if (this.#full.length === 0 && this.#filled > 0) this.#endChunk(CHUNK)
    this.#batch = this.#full.shift() ?? NOTHING
    this.#offset = 0
    this.#waiting -= this.#batch.length
  }

  #lose(lines: number, cause: string): void {
    if (lines === 0) return
    this.#lost += lines
    this.#lossCause = this.#failure ?? cause
    this.#warning ??= setTimeout(() => this.#warn(), INTERVAL).unref()
  }

  #warn(): void {
    clearTimeout(this.#warning)
    this.#warning = undefined
    if (this.#lost === 0) return
    this.#logger.warn?.(
      `mongrel2-fetch: the ${this.#name} lost ${this.#lost} line${this.#lost === 1 ? '' : 's'}: ${this.#lossCause}`,
    )
    this.#lost = 0
  }
}

function openFirst(path: string, option: string, mode: number): number {
  try {
    return openSync(path, FLAGS, mode)
  } catch (error) {
    const expected = `${option}: expected a file that can be opened to append, got ${JSON.stringify(path)}`
    throw new Mongrel2Error('invalid_option', `${expected}: ${causeOf(error)}`, { cause: error })
  }
}

function closeFile(fd: number): Promise<void> {
  return new Promise((resolve) => close(fd, () => resolve()))
}

const CAUSES: Readonly<Record<string, string>> = {
  EACCES: 'this user may not write there; change its owner or mode',
  EAGAIN: 'its reader is slow',
  EISDIR: 'it is a directory; give the path of a file in it',
  ENOENT: 'its directory does not exist; make it',
  ENOSPC: 'the disk is full',
  ENXIO: 'nobody reads it; start the reader of the FIFO first',
  EPIPE: 'its reader has gone',
}

function causeOf(error: unknown): string {
  return CAUSES[String(Object(error).code)] ?? messageOf(error)
}
