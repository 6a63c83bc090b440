import { dirname, join } from 'node:path'
import type { ReadableByteStreamController } from 'node:stream/web'
import type { EndpointSettings } from '../../options/endpoint.ts'
import type { UploadInfo } from '../../platform/handler.ts'
import type { BodySource } from '../../platform/request.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { pathBelow } from '../../runtime/path-below.ts'
import { fs } from '../../runtime/process/node-fs.ts'
import { countGarbage } from '../../runtime/process/young-collection.ts'
import { isLocal } from './local-files.ts'

/** Where Mongrel2 stores bodies, and whether their files are kept. */
export type UploadPlace = EndpointSettings['uploads']

/** Bytes that are read from a file at once. */
const READ_SIZE = 256 * 1024

// A FileHandle costs more than all else that is done for a short body, and cannot be closed at once.
// An import of `node:util` would load all that it exports, worker threads too.
const { promisify } = process.getBuiltinModule('node:util')
const openFile = promisify(fs.open)
const readFile = promisify(fs.read)

/** A stored body: its open file. */
export class Upload implements BodySource {
  info: UploadInfo
  readonly #file: number
  readonly #keep: boolean
  /** Whether it is read and deleted by calls that wait, which cost a fraction of those that another thread does. */
  readonly #atOnce: boolean
  #reading = false
  #closed = false

  /**
   * @param file The file descriptor, which is closed by `release`.
   * @param local Whether the file is on this machine, which then has in memory what Mongrel2 has just written.
   */
  constructor(info: UploadInfo, file: number, keep: boolean, local: boolean) {
    this.info = info
    this.#file = file
    this.#keep = keep
    this.#atOnce = local && info.size <= READ_SIZE
  }

  /** Cuts the file to the body's length. Throws Node's error when it may not be written, `upload_unavailable` when it was replaced. */
  async truncate(size: number): Promise<void> {
    const { path } = this.info
    const file = await fs.promises.open(path, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
    try {
      const [mine, other] = [fs.fstatSync(this.#file), fs.fstatSync(file.fd)]
      if (mine.ino !== other.ino || mine.dev !== other.dev) {
        throw unavailable(`expected ${path} to stay the same file, but it was replaced`)
      }
      await file.truncate(size)
      this.info = { path, size }
    } finally {
      await file.close()
    }
  }

  /** Fails if the file ends early. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = Buffer.allocUnsafeSlow(this.info.size)
    for (let at = 0; at < bytes.length; ) {
      at += await this.#read(bytes, at)
    }
    return bytes
  }

  /** The file's bytes, read on demand. Fails if the file ends early. */
  stream(): ReadableStream<Uint8Array> {
    let left = this.info.size
    return new ReadableStream(
      {
        type: 'bytes',
        pull: async (controller: ReadableByteStreamController) => {
          if (left > 0) {
            // Not from Node's pool, since a byte stream transfers the whole ArrayBuffer.
            const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE, left))
            const bytesRead = await this.#read(buffer, 0)
            left -= bytesRead
            controller.enqueue(buffer.subarray(0, bytesRead))
          }
          if (left === 0) {
            controller.close()
            controller.byobRequest?.respond(0)
            this.#close()
          }
        },
        cancel: () => this.release(),
      },
      { highWaterMark: 0 },
    )
  }

  /** Closes the file and deletes it, unless files are kept. */
  async release(): Promise<void> {
    this.#close()
    if (!this.#keep) await deleteFile(this.info.path, this.#atOnce)
  }

  /** Reads on into a buffer from a position of it; returns how many bytes came. */
  async #read(buffer: Uint8Array, at: number): Promise<number> {
    const { path } = this.info
    if (this.#closed) throw unavailable(`expected ${path} to be read before the response has ended`)
    const left = buffer.length - at
    const bytesRead = this.#atOnce
      ? fs.readSync(this.#file, buffer, at, left, null)
      : await this.#readByThread(buffer, at)
    countGarbage(bytesRead)
    if (bytesRead === 0) throw unavailable(`expected at least ${left} bytes more in ${path}, but it ends here`)
    return bytesRead
  }

  async #readByThread(buffer: Uint8Array, at: number): Promise<number> {
    this.#reading = true
    try {
      const { bytesRead } = await readFile(this.#file, buffer, at, buffer.length - at, null)
      return bytesRead
    } finally {
      this.#reading = false
      if (this.#closed) fs.closeSync(this.#file)
    }
  }

  /** At once, since a file that was only read and still has its name has nothing to wait for; but a read may still wait for its turn. */
  #close(): void {
    if (this.#closed) return
    this.#closed = true
    if (!this.#reading) fs.closeSync(this.#file)
  }
}

function unavailable(message: string): Mongrel2Error {
  return new Mongrel2Error('upload_unavailable', message)
}

/** Whether a path is one that `upload.temp_store` makes: its template with six other characters for `XXXXXX`. */
export function fitsTempStore(path: string, tempStore: string): boolean {
  const prefix = tempStore.slice(0, -6)
  return (
    path.length === tempStore.length && path.startsWith(prefix) && /^[A-Za-z0-9]{6}$/.test(path.slice(prefix.length))
  )
}

/**
 * Opens the file of a stored body.
 *
 * @returns The upload, or why the file cannot be Mongrel2's: it is a link, no regular file, or outside the chroot.
 * @throws Mongrel2Error `upload_unavailable` when the file is not where the options say, or cannot be read.
 */
export async function openUpload(path: string, place: UploadPlace): Promise<Upload | string> {
  const whole = join(place.chroot, path)
  try {
    const flags = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK
    const local = await isLocal(dirname(whole))
    const file = local ? fs.openSync(whole, flags) : await openFile(whole, flags)
    let checked: number | string | undefined
    try {
      checked = await checkOpenFile(file, whole, place.chroot)
    } finally {
      if (typeof checked !== 'number') fs.closeSync(file)
    }
    if (typeof checked === 'string') return `${whole} ${checked}`
    return new Upload({ path: whole, size: checked }, file, place.keep, local)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ELOOP') return `${whole} is a link`
    const reason = `the upload that Mongrel2 stored as ${path} cannot be read at ${whole} (${code})`
    throw new Mongrel2Error('upload_unavailable', `${reason}: ${adviceFor(code, place.chroot)}`, { cause: error })
  }
}

/**
 * The size of an open file, or why it cannot be an upload. Checked after it is open, since its path may have changed; on Linux by calls that wait
 * for no disk, which cost a tenth of what those cost that another thread does.
 *
 * @param path Its path when it was opened.
 */
async function checkOpenFile(file: number, path: string, chroot: string): Promise<number | string> {
  const status = fs.fstatSync(file)
  if (!status.isFile()) return 'is no regular file'
  if (status.nlink !== 1) return `has ${status.nlink} names, and Mongrel2 gives it one`
  const opened = pathOnLinux(file) ?? (await fs.promises.realpath(path))
  return (await isBelow(chroot, dirname(opened)))
    ? status.size
    : `leads to ${opened}, which leaves the chroot ${chroot}`
}

/** The path of an open file, which only Linux tells. */
function pathOnLinux(file: number): string | undefined {
  try {
    return fs.readlinkSync(`/proc/self/fd/${file}`)
  } catch {
    return undefined
  }
}

/** Chroots with links followed, as far as known. */
const realChroots = new Map<string, string>()

/** Whether a directory without links is a chroot or lies in it. The chroot's links are followed again where they seem to have changed. */
async function isBelow(chroot: string, directory: string): Promise<boolean> {
  const known = realChroots.get(chroot)
  if (known !== undefined && pathBelow(known, directory) !== undefined) return true
  const real = await fs.promises.realpath(chroot)
  realChroots.set(chroot, real)
  return pathBelow(real, directory) !== undefined
}

function adviceFor(code: string | undefined, chroot: string): string {
  if (code === 'EMFILE' || code === 'ENFILE') {
    return 'no file descriptors are left; raise the limit (ulimit -n) or lower maxInFlight'
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return `its file has to be readable by this process, where the option chroot, ${chroot}, leads to`
  }
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return `the option chroot, ${chroot}, has to be Mongrel2's chroot as seen from here`
  }
  return 'reading its file failed'
}

/** Deletes the file of an upload that is not read, if it exists and lies where an upload can. */
export async function deleteUpload(path: string, place: UploadPlace): Promise<void> {
  if (place.keep || !fitsTempStore(path, place.tempStore)) return
  const whole = join(place.chroot, path)
  if (await isInside(dirname(whole), place.chroot).catch(() => false)) await deleteFile(whole)
}

/** Empties the file of a discarded upload, unless files are kept. Mongrel2 writes on behind a gap that takes no space. Returns the old size. */
export async function emptyUpload(path: string, place: UploadPlace): Promise<number> {
  const whole = join(place.chroot, path)
  if (!fitsTempStore(path, place.tempStore) || !(await isInside(dirname(whole), place.chroot))) return 0
  const file = await fs.promises.open(whole, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
  try {
    const size = await checkOpenFile(file.fd, whole, place.chroot)
    if (typeof size === 'string') return 0
    if (size > 0 && !place.keep) await file.truncate()
    return size
  } finally {
    await file.close()
  }
}

/** Whether a directory, with links followed, is a chroot or lies in it. */
async function isInside(directory: string, chroot: string): Promise<boolean> {
  return await isBelow(chroot, await fs.promises.realpath(directory))
}

/** @param atOnce By a call that waits, and not by another thread: to free a large file takes its time. */
async function deleteFile(path: string, atOnce = false): Promise<void> {
  try {
    if (atOnce) fs.unlinkSync(path)
    else await fs.promises.unlink(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
