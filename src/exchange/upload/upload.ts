import { constants } from 'node:fs'
import { type FileHandle, open, readlink, realpath, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { ReadableByteStreamController } from 'node:stream/web'
import type { UploadInfo } from '../../platform/handler.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { pathBelow } from '../../runtime/path-below.ts'

/** Where Mongrel2 stores bodies. */
export interface UploadPlace {
  /** Mongrel2's chroot as seen from here. */
  readonly chroot: string
  /** Mongrel2's `upload.temp_store`: a path relative to the chroot that ends in `XXXXXX`. */
  readonly tempStore: string
  /** Whether files stay when the response is finished. */
  readonly keep: boolean
}

/** Bytes that are read of a file at once. */
const READ_SIZE = 256 * 1024
/** How often a file that grows is looked at, in milliseconds. */
const SIZE_INTERVAL = 100

/** A stored body: its file, open. */
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

  /**
   * Cuts off what does not belong to the body.
   *
   * @throws Mongrel2Error `upload_unavailable` when the file may not be written, or is another by now.
   */
  async truncate(size: number): Promise<void> {
    const { path } = this.info
    const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const [mine, other] = await Promise.all([this.#file.stat(), file.stat()])
      if (mine.ino !== other.ino || mine.dev !== other.dev) {
        throw new Mongrel2Error(
          'upload_unavailable',
          `expected ${path} to stay the file that it was, but it was replaced`,
        )
      }
      await file.truncate(size)
      this.info = { path, size }
    } finally {
      await file.close()
    }
  }

  /** The file's bytes, read as they are asked for, 256 KiB at a time. A file that ends early is an error, not an end. */
  stream(): ReadableStream<Uint8Array> {
    let left = this.info.size
    return new ReadableStream(
      {
        type: 'bytes',
        pull: async (controller: ReadableByteStreamController) => {
          if (left > 0) {
            // Not from Node's pool: a byte stream takes the whole ArrayBuffer away from everybody else.
            const { bytesRead, buffer } = await this.#file.read(Buffer.allocUnsafeSlow(Math.min(READ_SIZE, left)))
            if (bytesRead === 0) {
              throw new Mongrel2Error(
                'upload_unavailable',
                `expected ${left} bytes more in ${this.info.path}, but it ends here`,
              )
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

  /** Closes the file and deletes it, unless it is to be kept. */
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

/** Whether a path is one that `upload.temp_store` makes: its template with other letters for the six X. */
export function fitsTempStore(path: string, tempStore: string): boolean {
  const prefix = tempStore.slice(0, -6)
  return (
    path.length === tempStore.length && path.startsWith(prefix) && /^[A-Za-z0-9]{6}$/.test(path.slice(prefix.length))
  )
}

/**
 * Opens the file of a stored body.
 *
 * @returns The upload, or a sentence that says why no such file could be Mongrel2's: a link, no regular file, outside the chroot.
 * @throws Mongrel2Error `upload_unavailable` when it is not where the options say, or cannot be read.
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

/** The size of an open file, or what keeps it from being an upload: looked at now, since the path may lead elsewhere by now. */
async function checkOpenFile(file: FileHandle, chroot: string): Promise<number | string> {
  const status = await file.stat()
  if (!status.isFile()) return 'is no regular file'
  if (status.nlink !== 1) return `has ${status.nlink} names, and Mongrel2 gives it one`
  // Other systems than Linux do not say where an open file lies.
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

/**
 * Watches the file of a body that came without a length while Mongrel2 writes it.
 *
 * @param most Bytes that it may have.
 * @param tooLarge Called once, when it has more.
 * @returns Stops watching.
 */
export function watchUploadSize(path: string, most: number, tooLarge: () => void): () => void {
  let watching = true
  const stop = () => {
    watching = false
    clearInterval(timer)
  }
  const look = async () => {
    // A file that cannot be seen cannot be opened in the end either, which is answered then.
    const size = await stat(path).then(
      (status) => status.size,
      () => 0,
    )
    if (!watching || size <= most) return
    stop()
    tooLarge()
  }
  const timer = setInterval(() => void look(), SIZE_INTERVAL).unref()
  return stop
}

/** Deletes the file of an upload that nobody will read, if it is where an upload can be; gone already is as good. */
export async function deleteUpload(path: string, place: UploadPlace): Promise<void> {
  if (place.keep || !fitsTempStore(path, place.tempStore)) return
  const whole = join(place.chroot, path)
  if (await isInside(dirname(whole), place.chroot).catch(() => false)) await deleteFile(whole)
}

/**
 * Empties the file of an upload that nobody will read while Mongrel2 still writes it, unless it is to be kept: Mongrel2 goes on where it
 * was, and what is before that takes no room.
 *
 * @returns The bytes that it had by its size.
 */
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

/** Whether a directory, links followed, is another or within it. */
async function isInside(directory: string, other: string): Promise<boolean> {
  const [inner, outer] = await Promise.all([realpath(directory), realpath(other)])
  return pathBelow(outer, inner) !== undefined
}

async function deleteFile(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
