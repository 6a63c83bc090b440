import { constants } from 'node:fs'
import { type FileHandle, open, readlink, realpath, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { ReadableByteStreamController } from 'node:stream/web'
import type { EndpointSettings } from '../../options/endpoint.ts'
import type { UploadInfo } from '../../platform/handler.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { pathBelow } from '../../runtime/path-below.ts'

/** Where Mongrel2 stores bodies, and whether their files are kept. */
export type UploadPlace = EndpointSettings['uploads']

/** Bytes that are read from a file at once. */
const READ_SIZE = 256 * 1024

/** A stored body: its open file. */
export class Upload {
  info: UploadInfo
  readonly #file: FileHandle
  readonly #keep: boolean
  #closed = false

  constructor(info: UploadInfo, file: FileHandle, keep: boolean) {
    this.info = info
    this.#file = file
    this.#keep = keep
  }

  /** Cuts the file to the body's length. Throws Node's error when it may not be written, `upload_unavailable` when it was replaced. */
  async truncate(size: number): Promise<void> {
    const { path } = this.info
    const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const [mine, other] = await Promise.all([this.#file.stat(), file.stat()])
      if (mine.ino !== other.ino || mine.dev !== other.dev) {
        throw new Mongrel2Error('upload_unavailable', `expected ${path} to stay the same file, but it was replaced`)
      }
      await file.truncate(size)
      this.info = { path, size }
    } finally {
      await file.close()
    }
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
            const { bytesRead, buffer } = await this.#file.read(Buffer.allocUnsafeSlow(Math.min(READ_SIZE, left)))
            if (bytesRead === 0) {
              const expected = `expected ${left} bytes more in ${this.info.path}, but it ends here`
              throw new Mongrel2Error('upload_unavailable', expected)
            }
            left -= bytesRead
            controller.enqueue(buffer.subarray(0, bytesRead))
          }
          if (left === 0) {
            controller.close()
            controller.byobRequest?.respond(0)
            await this.#close()
          }
        },
        cancel: () => this.release(),
      },
      { highWaterMark: 0 },
    )
  }

  /** Closes the file and deletes it, unless files are kept. */
  async release(): Promise<void> {
    await this.#close()
    if (!this.#keep) await deleteFile(this.info.path)
  }

  async #close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#file.close()
  }
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
    if (!(await isInside(dirname(whole), place.chroot))) return `${whole} leaves the chroot ${place.chroot}`
    const file = await open(whole, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const checked = await checkOpenFile(file, place.chroot).catch(async (error: unknown) => {
      await file.close()
      throw error
    })
    if (typeof checked === 'number') return new Upload({ path: whole, size: checked }, file, place.keep)
    await file.close()
    return `${whole} ${checked}`
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ELOOP') return `${whole} is a link`
    const reason = `the upload that Mongrel2 stored as ${path} cannot be read at ${whole} (${code})`
    throw new Mongrel2Error('upload_unavailable', `${reason}: ${adviceFor(code, place.chroot)}`, { cause: error })
  }
}

/** The size of an open file, or why it cannot be an upload. Checked after it is open, since its path may have changed. */
async function checkOpenFile(file: FileHandle, chroot: string): Promise<number | string> {
  const status = await file.stat()
  if (!status.isFile()) return 'is no regular file'
  if (status.nlink !== 1) return `has ${status.nlink} names, and Mongrel2 gives it one`
  // Only Linux tells the path of an open file.
  const path = await readlink(`/proc/self/fd/${file.fd}`).catch(() => undefined)
  if (path !== undefined && pathBelow(await realpath(chroot), dirname(path)) === undefined) return `leads to ${path}`
  return status.size
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
  const file = await open(whole, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const size = await checkOpenFile(file, place.chroot)
    if (typeof size === 'string') return 0
    if (size > 0 && !place.keep) await file.truncate()
    return size
  } finally {
    await file.close()
  }
}

/** Whether a directory, with links followed, is another one or lies in it. */
async function isInside(directory: string, other: string): Promise<boolean> {
  const [inner, outer] = await Promise.all([realpath(directory), realpath(other)])
  return pathBelow(outer, inner) !== undefined
}

async function deleteFile(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
